// Files appear whole or not at all, and JSON that lies is refused.
#include "models/io/file.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "models/io/json.h"
#include "tests/models/io/paths.h"

namespace chalk {
namespace {

int files_in(const std::string& folder) {
  const std::filesystem::directory_iterator all(folder);
  return static_cast<int>(std::distance(begin(all), end(all)));
}

TEST(AtomicFile, AppearsOnCommitOnly) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a");
  write_text(path, "old");
  {
    AtomicFile file(path);
    file.write("new");
    EXPECT_EQ(read_text(path), "old");
  }  // not committed: as after an exception
  EXPECT_EQ(read_text(path), "old");
  EXPECT_EQ(files_in(folder.path), 1);
  write_text(path, "new");
  EXPECT_EQ(read_text(path), "new");
  EXPECT_EQ(files_in(folder.path), 1);
}

TEST(AtomicFile, FullDiskIsAnErrorAndKeepsTheOldFile) {
  EXPECT_THROW(write_text("/dev/full", "some text"), Error);
  const TemporaryFolder folder;
  const std::string path = folder.file("a");
  write_text(path, "old");
  // The nearest thing to a full disk that needs no mount: a limit on the size of files.
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small = {1000, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  try {
    write_text(path, std::string(1 << 20, 'x'));
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code, 1);
    EXPECT_TEXT_IN("File too large", error.what());
  }
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(read_text(path), "old");
  EXPECT_EQ(files_in(folder.path), 1);
}

TEST(AtomicFile, SaysWhyItCannotBeCreated) {
  try {
    write_text("/nonexistent/folder/file", "x");
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_TEXT_IN("No such file or directory", error.what());
  }
  const TemporaryFolder folder;
  EXPECT_THROW(write_text(folder.path, "x"), Error);
}

TEST(MappedFile, RefusesWhatIsNoFile) {
  const TemporaryFolder folder;
  EXPECT_TEXT_IN("No such file", file_error([&] { MappedFile file(folder.file("absent")); }));
  EXPECT_TEXT_IN("folder", file_error([&] { MappedFile file(folder.path); }));
  EXPECT_TEXT_IN("regular", file_error([&] { MappedFile file("/dev/zero"); }));
  ASSERT_EQ(mkfifo(folder.file("pipe").c_str(), 0600), 0);
  EXPECT_TEXT_IN("regular", file_error([&] {
                   MappedFile file(folder.file("pipe"));
                 }));  // and does not wait for a writer
  write_text(folder.file("empty"), "");
  EXPECT_EQ(MappedFile(folder.file("empty")).size, 0u);
  EXPECT_TEXT_IN("at most 2", file_error([&] {
                   write_text(folder.file("three"), "abc");
                   read_text(folder.file("three"), 2);
                 }));
}

TEST(Printable, EscapesControlBytesAndCutsLongNames) {
  EXPECT_EQ(printable("h.0\x1b[31m"), "h.0\\x1b[31m");
  EXPECT_EQ(printable(std::string(100, 'a')), std::string(80, 'a') + "...");
}

TEST(Json, RefusesWhatIsNotPlainJson) {
  const auto parse = [](const std::string& text) {
    return file_error([&] { parse_json(text, "file.json"); });
  };
  EXPECT_TEXT_IN("\"a\" appears twice", parse(R"({"a": 1, "b": {"a": 2}, "a": 3})"));
  EXPECT_TEXT_IN("nested deeper", parse(std::string(1000000, '[')));
  EXPECT_TEXT_IN("nested deeper", parse("{\"a\":" + std::string(100, '[') + std::string(100, ']') + "}"));
  EXPECT_TEXT_IN("not valid JSON", parse(""));
  EXPECT_TEXT_IN("not valid JSON", parse("{\"a\": 1} x"));
  EXPECT_TEXT_IN("not valid JSON", parse("{\"a\": NaN}"));
  EXPECT_TEXT_IN("not valid JSON", parse("{\"\xff\": 1}"));
  EXPECT_TEXT_IN("not valid JSON", parse("{\"a\": 1e999}"));
  EXPECT_NO_THROW(parse_json(R"([{"a": 1}, {"a": 2}])", "file.json"));
}

TEST(Json, GettersCheckTypeAndRange) {
  const nlohmann::json object = parse_json(
      R"({"i": 7, "big": 18446744073709551615, "neg": -3, "f": 1.5, "b": true, "s": "x", "n": null, "whole": 1.0})",
      "f");
  EXPECT_EQ(get_int(object, "f", "i", 0, 10), 7);
  EXPECT_EQ(get_int(object, "f", "absent", 0, 10, 5), 5);
  EXPECT_EQ(get_int(object, "f", "n", 0, 10, 5), 5);
  EXPECT_TEXT_IN("f: i: is 7, expected 8 to 9", file_error([&] { get_int(object, "f", "i", 8, 9); }));
  EXPECT_TEXT_IN("18446744073709551615", file_error([&] { get_int(object, "f", "big", 0, INT64_MAX); }));
  EXPECT_TEXT_IN("is -3", file_error([&] { get_int(object, "f", "neg", 0, 9); }));
  EXPECT_TEXT_IN("is missing", file_error([&] { get_int(object, "f", "absent", 0, 9); }));
  for (const char* key : {"f", "b", "s", "whole"}) file_error([&] { get_int(object, "f", key, 0, 9, 1); });
  EXPECT_EQ(get_number(object, "f", "i", 0, 10), 7.0);
  EXPECT_TEXT_IN("expected a number", file_error([&] { get_number(object, "f", "b", 0, 9); }));
  EXPECT_TRUE(get_bool(object, "f", "b"));
  EXPECT_TEXT_IN("true or false", file_error([&] { get_bool(object, "f", "i"); }));
  EXPECT_EQ(get_string(object, "f", "s"), "x");
  EXPECT_TEXT_IN("object was expected",
                 file_error([&] { get_int(nlohmann::json::array(), "f", "i", 0, 9); }));
}

}  // namespace
}  // namespace chalk
