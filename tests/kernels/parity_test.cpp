// The parity matrix: every op that a contract kernels/NAME.h declares, on every backend. A cell is present
// when kernels/plain/NAME.h, kernels/cpu/NAME.cpp or kernels/cuda/NAME.cu defines every function of the
// contract, n/a when the table below says why not, and missing otherwise. Missing fails.

#include <gtest/gtest.h>

#include <cctype>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace chalk {
namespace {

namespace fs = std::filesystem;

struct Exception {
  std::string op, backend, reason;
};
const std::vector<Exception> not_applicable = {
    {"cholesky", "cuda", "float64 on matrices of a few thousand rows: the host is as fast"},
    {"triangular", "cuda", "used by cholesky only"},
    {"symmetric_eigen", "cuda", "runs once per analysis, on the host"},
    {"svd", "cuda", "runs once per analysis, on the host"},
};

// The folder that holds kernels/: the tests may be started from anywhere inside the repository.
fs::path repository_root() {
  for (fs::path folder = fs::current_path(); folder != folder.root_path(); folder = folder.parent_path()) {
    if (fs::exists(folder / "kernels/matmul.h")) return folder;
  }
  return {};
}

std::string read(const fs::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string without_comments(const std::string& text) {
  std::stringstream in(text), out;
  for (std::string line; std::getline(in, line);) out << line.substr(0, line.find("//")) << '\n';
  return out.str();
}

// Does the text define (or at least name) function(...)?
bool mentions(const std::string& text, const std::string& function) {
  for (size_t at = text.find(function + "("); at != std::string::npos;
       at = text.find(function + "(", at + 1)) {
    if (at == 0 || !(std::isalnum(text[at - 1]) || text[at - 1] == '_')) return true;
  }
  return false;
}

// What the contract declares inside `namespace NAME { … }`: lines that start with a return type and a name,
// up to "(". `inline` ones are defined on the spot and need no other file.
std::set<std::string> declared(const std::string& contract, const std::string& name_space) {
  const std::string open = "namespace " + name_space + " {";
  const size_t begin = contract.find(open);
  if (begin == std::string::npos) return {};
  const std::string body =
      contract.substr(begin, contract.find("\n}  // namespace " + name_space, begin) - begin);
  std::set<std::string> names;
  const std::regex declaration(
      "\n(?!inline|constexpr|namespace|struct|using)[A-Za-z_][\\w:<>]*[ *&]+(\\w+)\\(");
  for (std::sregex_iterator it(body.begin(), body.end(), declaration), end; it != end; ++it) {
    names.insert((*it)[1]);
  }
  return names;
}

struct Cell {
  bool started = false;           // the file exists
  std::vector<std::string> gaps;  // functions it does not define
  std::string reason;             // n/a because
  bool missing() const { return reason.empty() && (!started || !gaps.empty()); }
  std::string text() const {
    if (!reason.empty()) return "n/a";
    return missing() ? "missing" : "present";
  }
};

Cell examine(const std::string& op, const std::string& backend, const fs::path& file,
             const std::set<std::string>& functions) {
  Cell cell;
  for (const Exception& exception : not_applicable) {
    if (exception.op == op && exception.backend == backend) cell.reason = exception.reason;
  }
  cell.started = fs::exists(file);
  const std::string text = cell.started ? without_comments(read(file)) : "";
  for (const std::string& function : functions) {
    if (!mentions(text, function)) cell.gaps.push_back(function);
  }
  return cell;
}

TEST(Parity, EveryOpExistsOnEveryBackend) {
  const fs::path root = repository_root();
  if (root.empty()) GTEST_SKIP() << "the sources are not here: run from inside the repository";
  std::map<std::string, std::string> contracts;  // text by op
  for (const fs::directory_entry& entry : fs::directory_iterator(root / "kernels")) {
    if (entry.path().extension() != ".h") continue;
    const std::string text = read(entry.path());
    if (!declared(text, "plain").empty()) contracts[entry.path().stem().string()] = text;
  }
  ASSERT_GE(contracts.size(), 20u);

  std::string notes;
  std::printf("%-20s %-8s %-8s %-8s functions\n", "op", "plain", "cpu", "cuda");
  for (const auto& [op, contract] : contracts) {
    const std::set<std::string> functions = declared(contract, "plain");
    const Cell plain = examine(op, "plain", root / "kernels/plain" / (op + ".h"), functions);
    const Cell cpu = examine(op, "cpu", root / "kernels/cpu" / (op + ".cpp"), functions);
    const Cell cuda = examine(op, "cuda", root / "kernels/cuda" / (op + ".cu"), functions);
    std::printf("%-20s %-8s %-8s %-8s %zu\n", op.c_str(), plain.text().c_str(), cpu.text().c_str(),
                cuda.text().c_str(), functions.size());
    if (!cuda.reason.empty()) notes += "  " + op + " on cuda is n/a: " + cuda.reason + "\n";

    for (const auto& [backend, cell] :
         {std::pair("plain", plain), std::pair("cpu", cpu), std::pair("cuda", cuda)}) {
      EXPECT_FALSE(cell.missing()) << op << " is missing on " << backend << ": "
                                   << (cell.gaps.empty() ? "no file" : testing::PrintToString(cell.gaps));
    }
    // One signature, three namespaces: the contract must promise the same functions to each backend.
    for (const auto& [backend, cell] : {std::pair("cpu", cpu), std::pair("cuda", cuda)}) {
      for (const std::string& function : functions) {
        EXPECT_TRUE(!cell.reason.empty() || declared(contract, backend).count(function))
            << op << ".h does not declare " << backend << "::" << function;
      }
    }
  }
  std::printf("%s", notes.c_str());
}

TEST(Parity, DeclarationsAreFound) {
  const std::string contract =
      "namespace plain {\ntemplate <class T>\nvoid a(T* y,\n       T* x);\ninline int b() {\n  return "
      "f(1);\n}\n"
      "int64_t c(int);\n}  // namespace plain\nnamespace cpu {\nvoid d();\n}  // namespace cpu\n";
  EXPECT_EQ(declared(contract, "plain"), (std::set<std::string>{"a", "c"}));
  EXPECT_EQ(declared(contract, "cpu"), (std::set<std::string>{"d"}));
  EXPECT_TRUE(declared(contract, "cuda").empty());
}

}  // namespace
}  // namespace chalk
