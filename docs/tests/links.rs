//! The book hangs together: every relative link and anchor leads somewhere, every page is in the table of contents and
//! among the doctests, and every code block says its language (an unnamed one would run as Rust).

mod files;

use pulldown_cmark::{BrokenLink, CodeBlockKind, Event, LinkType, Options, Parser, Tag, TagEnd};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const BOOK: &str = "docs/src/";
const CONTENTS: &str = "docs/src/SUMMARY.md";

/// What these checks need to know of a page.
#[derive(Default)]
struct Page {
    anchors: BTreeSet<String>,
    links: Vec<String>,
    problems: Vec<String>,
}

fn parse(text: &str) -> Page {
    let mut page = Page::default();
    let mut broken = Vec::new();
    let report = |link: BrokenLink<'_>| {
        // `[a]` alone is mostly a bracket; `[a][b]` is meant as a link.
        if link.link_type != LinkType::ShortcutUnknown && link.link_type != LinkType::Shortcut {
            broken.push(format!("[{}] is not defined", link.reference));
        }
        None
    };
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES | Options::ENABLE_HEADING_ATTRIBUTES;
    let mut heading: Option<String> = None;
    for event in Parser::new_with_broken_link_callback(text, options, Some(report)) {
        match event {
            Event::Start(Tag::Heading { id, .. }) => {
                page.anchors.extend(id.map(String::from));
                heading = Some(String::new());
            }
            Event::End(TagEnd::Heading(_)) => {
                let slug = slug(&heading.take().unwrap_or_default());
                let mut anchor = slug.clone();
                let mut count = 0;
                while !page.anchors.insert(anchor) {
                    count += 1;
                    anchor = format!("{slug}-{count}");
                }
            }
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
            }
            Event::Html(html) | Event::InlineHtml(html) => {
                page.anchors.extend(
                    html.split("id=\"")
                        .skip(1)
                        .filter_map(|rest| rest.split('"').next())
                        .map(String::from),
                );
            }
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                page.links.push(dest_url.to_string());
            }
            Event::Start(Tag::CodeBlock(CodeBlockKind::Indented)) => {
                page.problems
                    .push("an indented code block has no language".to_owned());
            }
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language)))
                if language.is_empty() =>
            {
                page.problems
                    .push("a code block has no language".to_owned());
            }
            _ => {}
        }
    }
    page.problems.extend(broken);
    page
}

/// A heading's anchor, as mdBook and code hosts make it.
fn slug(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars()
        .filter_map(|c| match c {
            c if c.is_alphanumeric() || c == '_' || c == '-' => Some(c),
            c if c.is_whitespace() => Some('-'),
            _ => None,
        })
        .collect()
}

/// `path` seen from `page`, without `.` and `..`.
fn resolve(page: &str, path: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Everything that is wrong with these pages, by their path below the root. `exists` knows the other files.
fn problems(texts: &BTreeMap<String, String>, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let pages: BTreeMap<&str, Page> = texts
        .iter()
        .map(|(path, text)| (path.as_str(), parse(text)))
        .collect();
    let mut found = Vec::new();
    for (&path, page) in &pages {
        let mut report = |problem: String| found.push(format!("{path}: {problem}"));
        page.problems.iter().cloned().for_each(&mut report);
        for link in &page.links {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link
                .split_once('#')
                .map_or((link.as_str(), None), |(file, anchor)| (file, Some(anchor)));
            let target = if file.is_empty() {
                path.to_owned()
            } else {
                resolve(path, file)
            };
            if path.starts_with(BOOK) && !target.starts_with(BOOK) {
                report(format!("{link} leaves the book, where it leads nowhere"));
            } else if !pages.contains_key(target.as_str()) && !exists(&target) {
                report(format!("{link} does not exist"));
            } else if let Some(anchor) = anchor
                && pages
                    .get(target.as_str())
                    .is_none_or(|page| !page.anchors.contains(anchor))
            {
                report(format!("{link} has no such heading"));
            }
        }
    }
    if let Some(contents) = pages.get(CONTENTS) {
        let listed: Vec<String> = contents
            .links
            .iter()
            .map(|link| resolve(CONTENTS, link))
            .collect();
        for path in pages
            .keys()
            .filter(|path| path.starts_with(BOOK) && **path != CONTENTS)
        {
            match listed.iter().filter(|listed| listed == path).count() {
                0 => found.push(format!("{path}: is not in SUMMARY.md")),
                1 => {}
                _ => found.push(format!("{path}: is in SUMMARY.md twice")),
            }
        }
    }
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .expect("the workspace's root")
}

/// The book's pages, and those of the house that a reader opens first.
fn texts() -> BTreeMap<String, String> {
    let root = root();
    let mut files: Vec<PathBuf> = [
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "impl/README.md",
    ]
    .iter()
    .map(|file| root.join(file))
    .collect();
    files.extend(files::below(&root.join(BOOK), "md"));
    let name = |path: &Path| {
        path.strip_prefix(&root)
            .expect("below the root")
            .to_string_lossy()
            .replace('\\', "/")
    };
    files
        .iter()
        .map(|path| (name(path), fs::read_to_string(path).expect("a page")))
        .collect()
}

#[test]
fn the_book_hangs_together() {
    let texts = texts();
    assert!(
        texts.contains_key(CONTENTS) && texts.len() > 10,
        "only {} pages were looked at",
        texts.len()
    );
    let root = root();
    let found = problems(&texts, |path| root.join(path).exists());
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn every_page_is_among_the_doctests() {
    let source = include_str!("../lib.rs");
    for path in texts()
        .keys()
        .filter(|path| path.starts_with(BOOK) && *path != CONTENTS)
    {
        let chapter = format!("\"src/{}\"", &path[BOOK.len()..]);
        assert!(
            source.contains(&chapter),
            "docs/lib.rs does not name {chapter}"
        );
    }
}

#[test]
fn what_is_wrong_is_found() {
    let texts = |page: &str| {
        BTreeMap::from([
            (
                CONTENTS.to_owned(),
                "- [One](one.md)\n- [Two](deep/two.md)".to_owned(),
            ),
            (
                "docs/src/one.md".to_owned(),
                "# One\n## Why `a_b`, then?\n## Twice\n## Twice".to_owned(),
            ),
            ("docs/src/deep/two.md".to_owned(), page.to_owned()),
        ])
    };
    let found = |page: &str| problems(&texts(page), |_| false);

    for right in [
        "[a](../one.md#why-a_b-then) [b](../one.md#twice-1) [c](#here) [d](https://example.org/x#y)\n# Here",
        "```text\nno Rust\n```",
        "<a id=\"spot\"></a> [a](#spot) [a bracket]",
    ] {
        assert_eq!(found(right), [""; 0], "{right}");
    }
    for wrong in [
        "[a](one.md)",
        "[a](../one.md#why)",
        "[a](../one.md#twice-2)",
        "[a](#nowhere)",
        "[a](../../../README.md)",
        "[a][nothing]",
        "![a](picture.svg)",
        "```\nwhat am I?\n```",
        "text\n\n    indented",
    ] {
        assert_eq!(found(wrong).len(), 1, "{wrong}: {:?}", found(wrong));
    }
    let mut unlisted = texts("");
    unlisted.insert("docs/src/three.md".to_owned(), String::new());
    assert_eq!(
        problems(&unlisted, |_| false),
        ["docs/src/three.md: is not in SUMMARY.md"]
    );
}
