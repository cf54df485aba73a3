#include "tutorials/support/report.h"

#include <fmt/format.h>

#include "models/io/file.h"

namespace chalk {
namespace {

const char* const kStyle = R"css(
:root { color-scheme: light dark; --back: #f6f8fa; --card: #ffffff; --text: #1f2328; --muted: #656d76; --line: #e3e7eb;
        --accent: #0072b2; --good: #00795a; --bad: #b3410a; --code: #f6f8fa; }
@media (prefers-color-scheme: dark) {
  :root { --back: #0d1117; --card: #161b22; --text: #e6edf3; --muted: #9ba5b0; --line: #2a313a; --accent: #56b4e9;
          --good: #2cc295; --bad: #ff8a4c; --code: #0f141a; }
}
* { box-sizing: border-box; }
body { margin: 0; padding: 3rem 1rem 5rem; background: var(--back); color: var(--text);
       font: 16px/1.6 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 54rem; margin: 0 auto; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.01em; }
h2 { font-size: 1.3rem; margin: 3rem 0 .8rem; padding-bottom: .4rem; border-bottom: 1px solid var(--line); }
p { margin: .7rem 0; max-width: 44rem; }
.summary { color: var(--muted); font-size: 1.1rem; margin: 0 0 1.8rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: .9rem; margin: 1.2rem 0; }
.figures div { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .9rem 1.1rem; }
.figures span { display: block; color: var(--muted); font-size: .85rem; }
.figures b { display: block; font-size: 1.7rem; line-height: 1.35; font-variant-numeric: tabular-nums; }
figure { margin: 1.4rem 0; }
figure img { display: block; width: 100%; height: auto; border: 1px solid var(--line); border-radius: 10px; }
figcaption, caption { color: var(--muted); font-size: .9rem; margin-top: .5rem; text-align: left; caption-side: bottom; }
caption { padding-top: .5rem; }
.scroll { overflow-x: auto; margin: 1.2rem 0; }
table { border-collapse: collapse; background: var(--card); font-variant-numeric: tabular-nums; min-width: 50%; }
th, td { padding: .42rem .9rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { color: var(--muted); font-weight: 600; font-size: .88rem; border-bottom: 2px solid var(--line); }
.number { text-align: right; white-space: nowrap; }
pre, .sample { background: var(--code); border: 1px solid var(--line); border-radius: 8px; padding: .8rem 1rem; margin: .9rem 0;
      font: .88rem/1.55 ui-monospace, "DejaVu Sans Mono", monospace; overflow-x: auto; }
.sample { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--card); border-left: 4px solid var(--accent); }
.sample i { font-style: normal; color: var(--muted); }
.claim { padding-left: 1.7rem; text-indent: -1.7rem; margin: .35rem 0; }
.claim b { display: inline-block; width: 1.7rem; text-indent: 0; }
.holds b { color: var(--good); } .fails b { color: var(--bad); }
small { color: var(--muted); font-size: .92em; }
details { margin: 1rem 0; } summary { cursor: pointer; color: var(--accent); }
@media print { body { background: #fff; padding: 0; } figure, .figures { break-inside: avoid; } }
)css";

// Length of the UTF-8 letter that starts at text[i], or 0 if the bytes there are none.
size_t letter_length(const std::string& text, size_t i) {
  const unsigned char lead = text[i];
  const size_t length = lead < 0x80                   ? 1
                        : lead >= 0xC2 && lead < 0xE0 ? 2
                        : lead >> 4 == 14             ? 3
                        : lead >= 0xF0 && lead < 0xF5 ? 4
                                                      : 0;
  if (length == 0 || i + length > text.size()) return 0;
  for (size_t k = 1; k < length; k++) {
    if ((text[i + k] & 0xC0) != 0x80) return 0;
  }
  const unsigned char second = length > 1 ? text[i + 1] : 0;
  const bool overlong = (lead == 0xE0 && second < 0xA0) || (lead == 0xF0 && second < 0x90);
  const bool not_a_letter =
      (lead == 0xED && second >= 0xA0) || (lead == 0xF4 && second >= 0x90);  // surrogate, > U+10FFFF
  return overlong || not_a_letter ? 0 : length;
}

std::string data_uri(const std::string& png) {
  return "data:image/png;base64," + base64(png);
}

std::string html_of(const Table& table) {
  std::string out = "<thead><tr>";
  auto cell_class = [&](size_t c) { return table.is_numeric(c) ? " class=\"number\"" : ""; };
  for (size_t c = 0; c < table.header.size(); c++) {
    out += fmt::format("<th{}>{}</th>", cell_class(c), html_escaped(table.header[c]));
  }
  out += "</tr></thead>\n<tbody>\n";
  for (const auto& row : table.rows) {
    out += "<tr>";
    for (size_t c = 0; c < row.size(); c++)
      out += fmt::format("<td{}>{}</td>", cell_class(c), html_escaped(row[c]));
    out += "</tr>\n";
  }
  return out + "</tbody>";
}

}  // namespace

std::string html_escaped(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const size_t length = letter_length(text, i);
    const char c = text[i];
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else if (c == '\'')
      out += "&#39;";
    else if (length == 0 || (length == 1 && (c < 32 || c == 127) && c != '\n' && c != '\t'))
      out += "\uFFFD";
    else
      out += text.substr(i, length);
    i += length > 0 ? length : 1;
  }
  return out;
}

std::string base64(const std::string& bytes) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve(bytes.size() / 3 * 4 + 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {  // three bytes are four digits of six bits
    uint32_t group = 0;
    for (size_t k = 0; k < 3; k++) group = group << 8 | (i + k < bytes.size() ? uint8_t(bytes[i + k]) : 0);
    for (int k = 3; k >= 0; k--) out += digits[group >> (6 * k) & 63];
  }
  for (size_t k = 0; k < (3 - bytes.size() % 3) % 3; k++) out[out.size() - 1 - k] = '=';
  return out;
}

Report::Report(std::string title, std::string summary)
    : title_(std::move(title)), summary_(std::move(summary)) {}

void Report::section(const std::string& heading) {
  body_ += fmt::format("<h2>{}</h2>\n", html_escaped(heading));
}

void Report::text(const std::string& paragraph) {
  body_ += fmt::format("<p>{}</p>\n", html_escaped(paragraph));
}

void Report::figures(const std::vector<KeyFigure>& figures) {
  body_ += "<div class=\"figures\">\n";
  for (const KeyFigure& f : figures) {
    body_ += fmt::format("<div><span>{}</span><b>{}</b><span>{}</span></div>\n", html_escaped(f.name),
                         html_escaped(f.value), html_escaped(f.note));
  }
  body_ += "</div>\n";
}

void Report::table(const Table& table, const std::string& caption) {
  const std::string below =
      caption.empty() ? "" : fmt::format("<caption>{}</caption>", html_escaped(caption));
  body_ += fmt::format("<div class=\"scroll\"><table>{}\n{}</table></div>\n", below, html_of(table));
}

void Report::code(const std::string& text, const std::string& caption) {
  if (!caption.empty()) this->text(caption);
  body_ += fmt::format("<pre>{}</pre>\n", html_escaped(text));
}

void Report::sample(const std::string& prompt, const std::string& continuation) {
  body_ += fmt::format("<div class=\"sample\"><i>{}</i>{}</div>\n", html_escaped(prompt),
                       html_escaped(continuation));
}

void Report::claim(bool holds, const std::string& claim, const std::string& measured) {
  const std::string note =
      measured.empty() ? "" : fmt::format(" <small>({})</small>", html_escaped(measured));
  body_ += fmt::format("<p class=\"claim {}\"><b>{}</b>{}{}</p>\n", holds ? "holds" : "fails",
                       holds ? "✓" : "✗", html_escaped(claim), note);
}

void Report::image(const std::string& png_path, const std::string& caption) {
  picture(read_text(png_path), "", caption, caption);
}

void Report::picture(const std::string& light_png, const std::string& dark_png, const std::string& title,
                     const std::string& caption) {
  body_ += "<figure><picture>";
  if (!dark_png.empty()) {
    body_ += fmt::format("<source media=\"(prefers-color-scheme: dark)\" srcset=\"{}\">", data_uri(dark_png));
  }
  body_ += fmt::format("<img alt=\"{}\" src=\"{}\"></picture>", html_escaped(title), data_uri(light_png));
  if (!caption.empty()) body_ += fmt::format("<figcaption>{}</figcaption>", html_escaped(caption));
  body_ += "</figure>\n";
}

void Report::environment(const Context& context) {
  section("How it was made");
  const Environment& e = context.environment;
  code(e.command);
  Table about{{"", ""}};
  about.rows = {{"date", e.date},
                {"processor", e.processor},
                {"device", e.device},
                {"SIMD", fmt::format("{}, {} floats at a time", e.simd_target, e.simd_lanes)},
                {"threads", std::to_string(e.threads)},
                {"seed", std::to_string(context.seed)},
                {"compiler", e.compiler}};
  body_ += fmt::format("<div class=\"scroll\"><table>{}</table></div>\n",
                       html_of(about).substr(html_of(about).find("<tbody>")));
  body_ += fmt::format("<details><summary>Every flag (config.json)</summary><pre>{}</pre></details>\n",
                       html_escaped(to_text(context.config, 2)));
}

std::string Report::html() const {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, "
      "initial-scale=1\">\n<title>{0}</title>\n<style>{1}</style>\n"
      "</head>\n<body>\n<main>\n<h1>{0}</h1>\n<p class=\"summary\">{2}</p>\n{3}</main>\n</body>\n</html>\n",
      html_escaped(title_), kStyle, html_escaped(summary_), body_);
}

void Report::save(const std::string& path) const {
  save_bytes(path, html());
}

}  // namespace chalk
