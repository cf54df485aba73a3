// The one-file report: nothing in it can break out of its place, and nothing is loaded from elsewhere.
#include "tutorials/support/report.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "autograd/check.h"
#include "models/io/file.h"

namespace chalk {
namespace {

TEST(Report, TextCannotBecomeMarkup) {
  EXPECT_EQ(html_escaped("<b> & \"it's\""), "&lt;b&gt; &amp; &quot;it&#39;s&quot;");
  EXPECT_EQ(html_escaped("line\n\ttab √ü"), "line\n\ttab √ü");
  const std::string evil = "</pre></title><script>alert(1)</script>\" onload='x'";
  Report report(evil, evil);
  report.section(evil);
  report.text(evil);
  report.figures({{evil, evil, evil}});
  report.table({{evil}, {{evil}}}, evil);
  report.code(evil, evil);
  report.sample(evil, evil);
  report.claim(false, evil, evil);
  LinePlot plot{.title = evil, .width = 60, .height = 60};
  report.plot(plot, evil);
  Context context;
  context.config = {{"prompt", evil}};
  context.environment.command = evil;
  report.environment(context);
  const std::string html = report.html();
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_EQ(html.find("onload='"), std::string::npos);
  EXPECT_EQ(html.find("\" onload"), std::string::npos);
}

TEST(Report, BytesThatAreNoTextAreReplaced) {
  EXPECT_EQ(html_escaped("caf\xc3"), "caf\uFFFD");                // cut short
  EXPECT_EQ(html_escaped("\xc0\xaf"), "\uFFFD\uFFFD");            // overlong slash
  EXPECT_EQ(html_escaped("\xed\xa0\x80"), "\uFFFD\uFFFD\uFFFD");  // half a surrogate pair
  EXPECT_EQ(html_escaped(std::string("a\0b\x1b", 4)), "a\uFFFDb\uFFFD");
  EXPECT_EQ(html_escaped("😀"), "😀");
}

TEST(Report, Base64OfKnownTexts) {  // RFC 4648, section 10
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foo"), "Zm9v");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(base64("\xff\xff\xff"), "////");
}

TEST(Report, IsOneSelfContainedFile) {
  Report report("Title", "Summary");
  LinePlot plot{.title = "loss", .width = 100, .height = 80};
  report.plot(plot, "caption");
  const std::string html = report.html();
  EXPECT_NE(html.find("data:image/png;base64," + base64(render_png(plot))), std::string::npos);
  EXPECT_NE(html.find("prefers-color-scheme: dark"), std::string::npos);
  for (const char* outside : {"http://", "https://", "<link", "<script", "url("}) {
    EXPECT_EQ(html.find(outside), std::string::npos) << outside;
  }
}

TEST(Report, SavedWholeOrNotAtAll) {
  const std::string path = testing::TempDir() + "chalk_report_" + std::to_string(getpid()) + ".html";
  Report report("Title", "Summary");
  report.save(path);
  EXPECT_EQ(read_text(path), report.html());
  EXPECT_THROW(report.save("/dev/null/report.html"), Error);
  EXPECT_THROW(report.image("/no/such.png", "x"), FileError);
}

}  // namespace
}  // namespace chalk
