//! A web page that explains itself: nothing to load, readable on a phone, in the dark and without scripts.

use std::fmt::Write;

use crate::report::svg::Chart;
use crate::report::text::escape;

const STYLE: &str = ":root{color-scheme:light dark;--bg:#fff;--fg:#1c1e21;--dim:#667;--rule:#ddd;--c0:#1f6feb;--c1:#d9730d;--c2:#2da44e;--c3:#a371f7}\
@media(prefers-color-scheme:dark){:root{--bg:#14161a;--fg:#e6e6e6;--dim:#99a;--rule:#333;--c0:#58a6ff;--c1:#f0883e;--c2:#3fb950;--c3:#bc8cff}}\
*{box-sizing:border-box}body{margin:0 auto;padding:1rem;max-width:72rem;background:var(--bg);color:var(--fg);font:16px/1.5 system-ui,sans-serif}\
h1{font-size:1.4rem;margin:.2em 0;overflow-wrap:anywhere}h2{font-size:1.1rem;margin:2em 0 .4em}p{margin:.3em 0}.dim{color:var(--dim)}\
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem}th,td{padding:.25em .7em;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap}\
th:first-child,td:first-child{text-align:left}.text td{text-align:left;white-space:normal;vertical-align:top;overflow-wrap:anywhere}.text td:first-child{white-space:nowrap}.text th{text-align:left}\
.charts{display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr))}figure{margin:0}figcaption{font-weight:600;font-size:.95rem}\
svg{width:100%;height:auto;display:block}svg text{font:12px system-ui,sans-serif;fill:var(--dim)}.grid{stroke:var(--rule);fill:none}.axis{stroke:var(--dim);fill:none}\
.line{fill:none;stroke-width:2}.dashed{stroke-dasharray:4 4}.s0{--c:var(--c0)}.s1{--c:var(--c1)}.s2{--c:var(--c2)}.s3{--c:var(--c3)}.s4{--c:var(--dim)}\
.line,.dots{stroke:var(--c)}.dots{fill:none;stroke-width:5;stroke-linecap:round}.faint{stroke-width:3;opacity:.4}\
.bar,.key{fill:var(--c)}.bar{opacity:.75}details{margin:.4em 0}summary{cursor:pointer}\
.loss{border-left:3px solid var(--rule);padding:.1rem .7rem;margin:.8rem 0;overflow-wrap:anywhere}.loss b{font-weight:600}\
mark{color:inherit;background:color-mix(in srgb,var(--m) 28%,transparent);border-bottom:2px solid var(--m)}\
.gold{--m:var(--c2)}.said{--m:var(--c1)}.both{--m:var(--c0)}input,button{font:inherit;color:inherit;background:var(--bg);border:1px solid var(--dim);\
border-radius:4px;padding:.3em .6em;max-width:100%}\
@media(max-width:34rem){table{font-size:.8rem}td .dim{display:block}th,td{padding:.25em .35em}th{white-space:normal}}";

/// A page that is being written, from top to bottom.
#[derive(Debug)]
pub struct Page(String);

/// How a table is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Numbers to the right, the first column to the left.
    Numbers,
    /// Everything to the left, with line breaks where they are needed.
    Text,
}

impl Page {
    /// Begins a page with its title, which is also its heading.
    pub fn new(title: &str) -> Self {
        let title = escape(title);
        Self(format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        ))
    }

    /// The heading of a section.
    pub fn heading(&mut self, text: &str) {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(self.0, "<h2>{}</h2>", escape(text));
    }

    /// A sentence.
    pub fn paragraph(&mut self, text: &str) {
        let _ = writeln!(self.0, "<p>{}</p>", escape(text));
    }

    /// A sentence beside the point.
    pub fn remark(&mut self, text: &str) {
        let _ = writeln!(self.0, "<p class=\"dim\">{}</p>", escape(text));
    }

    /// Markup as it is: what comes from elsewhere must be escaped.
    pub fn markup(&mut self, markup: &str) {
        self.0.push_str(markup);
    }

    /// Charts with a remark each, beside each other where there is room.
    pub fn charts(&mut self, charts: &[(Chart, String)]) {
        self.0.push_str("<div class=\"charts\">\n");
        for (chart, remark) in charts {
            let _ = writeln!(
                self.0,
                "<figure><figcaption>{}</figcaption>{}<p class=\"dim\">{}</p></figure>",
                escape(&chart.title),
                chart.svg(),
                escape(remark)
            );
        }
        self.0.push_str("</div>\n");
    }

    /// A table; without names of columns it has no head. Cells are markup: what comes from elsewhere must be escaped.
    pub fn table<R: AsRef<[String]>>(&mut self, kind: Table, head: &[&str], rows: impl Iterator<Item = R>) {
        let class = if kind == Table::Text { " class=\"text\"" } else { "" };
        let _ = write!(self.0, "<div class=\"wide\"><table{class}>");
        if !head.is_empty() {
            let _ = write!(self.0, "<thead><tr><th>{}</th></tr></thead>", head.join("</th><th>"));
        }
        self.0.push_str("<tbody>\n");
        for row in rows {
            let _ = writeln!(self.0, "<tr><td>{}</td></tr>", row.as_ref().join("</td><td>"));
        }
        self.0.push_str("</tbody></table></div>\n");
    }

    /// What `inside` writes, folded away behind a summary. Scripts find it by its class.
    pub fn details(&mut self, class: &str, summary: &str, inside: impl FnOnce(&mut Self)) {
        let _ = writeln!(self.0, "<details class=\"{class}\"><summary>{}</summary>", escape(summary));
        inside(self);
        self.0.push_str("</details>\n");
    }

    /// The whole page.
    pub fn html(self) -> String {
        self.0 + "</body>\n</html>\n"
    }
}

/// A cell of two parts, the second of which is beside the point. Both are markup.
pub fn with_remark(text: &str, remark: &str) -> String {
    format!("{text} <span class=\"dim\">{remark}</span>")
}
