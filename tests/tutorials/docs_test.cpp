// The pages of docs/ tell the truth about the tree: every file they name exists, every link leads somewhere, and the maths is
// written in the two forms that GitHub renders reliably.
#include <gtest/gtest.h>

#include <filesystem>
#include <regex>
#include <set>

#include "models/io/file.h"

namespace chalk {
namespace {
namespace fs = std::filesystem;

std::vector<std::string> pages() {
  std::vector<std::string> found;
  if (!fs::is_directory("docs")) return found;
  for (const auto& entry : fs::recursive_directory_iterator("docs")) {
    if (entry.path().extension() == ".md") found.push_back(entry.path().string());
  }
  return found;
}

// Every match of the pattern's first group.
std::vector<std::string> matches(const std::string& text, const std::string& pattern) {
  const std::regex regex(pattern);
  std::vector<std::string> found;
  for (std::sregex_iterator it(text.begin(), text.end(), regex), end; it != end; ++it)
    found.push_back((*it)[1]);
  return found;
}

struct DocsTest : testing::Test {
  void SetUp() override {
    if (pages().empty()) GTEST_SKIP() << "no docs/ here: run the test from the root of the repository";
  }
};

TEST_F(DocsTest, NamedFilesExist) {
  // `kernels/layernorm.h` in backquotes; a word in capitals is a placeholder (`papers/TOPIC/NAME.h`).
  const std::string path =
      "`((?:kernels|autograd|nn|models|tutorials|tests|docs)/[a-z0-9_/]+\\.(?:h|cpp|md|sh))`";
  for (const std::string& page : pages()) {
    for (const std::string& name : matches(read_text(page), path)) {
      EXPECT_TRUE(fs::exists(name)) << page << " names " << name;
    }
  }
}

TEST_F(DocsTest, LinksLeadSomewhere) {
  for (const std::string& page : pages()) {
    for (std::string target : matches(read_text(page), "\\]\\(([^)#]+)[^)]*\\)")) {
      if (target.rfind("http", 0) == 0) continue;
      EXPECT_TRUE(fs::exists(fs::path(page).parent_path() / target)) << page << " links to " << target;
    }
  }
}

TEST_F(DocsTest, EveryDerivationHasTheSixHeadings) {
  const std::vector<std::string> wanted = {"Idea", "Maths", "Shapes", "Plain code", "Fast code", "Test"};
  for (const std::string& page : pages()) {
    if (page.rfind("docs/derivations/", 0) != 0 || page.ends_with("README.md")) continue;
    EXPECT_EQ(matches(read_text(page), "\n## ([^\n]*)"), wanted) << page;
  }
}

TEST_F(DocsTest, EveryDerivationThatAKernelNamesExists) {
  std::set<std::string> named;
  for (const auto& entry : fs::recursive_directory_iterator("kernels")) {
    if (!entry.is_regular_file()) continue;
    for (const std::string& name :
         matches(read_text(entry.path().string()), "(docs/derivations/[a-z_]+\\.md)")) {
      named.insert(name);
    }
  }
  EXPECT_FALSE(named.empty());
  for (const std::string& name : named) EXPECT_TRUE(fs::exists(name)) << name;
}

// Without the mathematics that is written as it should be, no $ may be left, and code fences must close.
TEST_F(DocsTest, MathsIsWrittenInTheTwoFormsThatRender) {
  for (const std::string& page : pages()) {
    std::string text = std::regex_replace(read_text(page), std::regex("\\$`[^`]*`\\$"), "");
    size_t fences = 0;
    std::string outside;
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = std::min(text.find('\n', begin), text.size());
      const std::string line = text.substr(begin, end - begin);
      if (line.rfind("```", 0) == 0)
        fences++;
      else if (fences % 2 == 0)
        outside += line + "\n";
      begin = end + 1;
    }
    EXPECT_EQ(fences % 2, 0u) << page << ": a code fence is not closed";
    const std::string prose = std::regex_replace(outside, std::regex("`[^`\n]*`"), "");
    EXPECT_EQ(prose.find('$'), std::string::npos) << page << ": a formula in bare dollars";
  }
}

}  // namespace
}  // namespace chalk
