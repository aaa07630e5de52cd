//! Which pages a page leads to, and which of them belong to a data source.

use std::sync::LazyLock;

use craton_api_bedrock_agent::WebScopeType;
use craton_wire::ApiError;
use regex::Regex;
use url::Url;

/// Links read of one page.
const MAX_LINKS: usize = 5_000;

/// The pages that belong to a data source.
pub(super) struct Scope {
    seeds: Vec<Url>,
    kind: Option<WebScopeType>,
    include: Vec<Regex>,
    exclude: Vec<Regex>,
}

impl Scope {
    pub(super) fn new(
        seeds: Vec<Url>,
        kind: Option<WebScopeType>,
        (include, exclude): (&[String], &[String]),
    ) -> Result<Self, ApiError> {
        let compile = |patterns: &[String]| {
            let compiled = patterns.iter().map(|pattern| {
                Regex::new(pattern)
                    .map_err(|_| ApiError::validation(format!("{pattern} is not a regular expression.")))
            });
            compiled.collect::<Result<Vec<Regex>, ApiError>>()
        };
        Ok(Self { seeds, kind, include: compile(include)?, exclude: compile(exclude)? })
    }

    /// Whether a page may be looked at.
    pub(super) fn reaches(&self, url: &Url) -> bool {
        matches!(url.scheme(), "http" | "https") && self.seeds.iter().any(|seed| self.within(seed, url))
    }

    fn within(&self, seed: &Url, url: &Url) -> bool {
        let (Some(home), Some(host)) = (seed.host_str(), url.host_str()) else { return false };
        let same_port = seed.port_or_known_default() == url.port_or_known_default()
            || (seed.port().is_none() && url.port().is_none());
        match self.kind {
            Some(WebScopeType::HostOnly) => home == host && same_port,
            Some(WebScopeType::Subdomains) => {
                let home = home.strip_prefix("www.").unwrap_or(home);
                same_port && (host == home || host.strip_suffix(home).is_some_and(|rest| rest.ends_with('.')))
            }
            // The same host, at or below the seed's own folder.
            None => {
                let folder = seed.path().rfind('/').map_or("/", |at| &seed.path()[..=at]);
                home == host && same_port && url.path().starts_with(folder)
            }
        }
    }

    /// Whether a page that was come by is fetched: what is excluded is not, not even for its links.
    pub(super) fn may_visit(&self, url: &Url) -> bool {
        self.reaches(url) && !is_any(&self.exclude, url)
    }

    /// Whether a page's text is wanted.
    pub(super) fn wants(&self, url: &Url) -> bool {
        (self.include.is_empty() || is_any(&self.include, url)) && !is_any(&self.exclude, url)
    }
}

fn is_any(patterns: &[Regex], url: &Url) -> bool {
    patterns.iter().any(|pattern| pattern.is_match(url.as_str()))
}

/// A URL as pages are told apart: without a fragment.
pub(super) fn canonical(mut url: Url) -> Url {
    url.set_fragment(None);
    url
}

/// What a page's meta elements ask of crawlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Wishes {
    pub(super) no_index: bool,
    pub(super) no_follow: bool,
}

pub(super) fn wishes(html: &str) -> Wishes {
    static META: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"(?is)<meta\s[^>]{0,1000}>").ok());
    let mut wishes = Wishes::default();
    for meta in META.iter().flat_map(|meta| meta.find_iter(html)) {
        let meta = meta.as_str().to_ascii_lowercase();
        if meta.contains("\"robots\"") || meta.contains("'robots'") || meta.contains("=robots") {
            wishes.no_index |= meta.contains("noindex") || meta.contains("none");
            wishes.no_follow |= meta.contains("nofollow") || meta.contains("none");
        }
    }
    wishes
}

/// Pages that a page links to, each once, in order; without links that are marked `nofollow`.
pub(super) fn links(html: &str, page: &Url) -> Vec<Url> {
    static TAG: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"(?is)<(a|base)(\s[^>]{0,2000})").ok());
    let mut base = page.clone();
    let mut found = Vec::new();
    for tag in TAG.iter().flat_map(|tag| tag.captures_iter(html)).take(MAX_LINKS) {
        let (mut target, mut follow) = (None, true);
        for (name, value) in attributes(&tag[2]) {
            match name {
                name if name.eq_ignore_ascii_case("href") => target = target.or(Some(value)),
                name if name.eq_ignore_ascii_case("rel") => {
                    follow &= !value.split_whitespace().any(|word| word.eq_ignore_ascii_case("nofollow"));
                }
                _ => {}
            }
        }
        let Some(target) = target.filter(|_| follow) else { continue };
        let Ok(url) = base.join(&target.trim().replace("&amp;", "&")) else { continue };
        if tag[1].eq_ignore_ascii_case("base") {
            base = url;
            continue;
        }
        let url = canonical(url);
        if !found.contains(&url) {
            found.push(url);
        }
    }
    found
}

/// Names and values of a tag's attributes.
fn attributes(tag: &str) -> impl Iterator<Item = (&str, &str)> {
    static ATTRIBUTE: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r#"\s([^\s=>"']+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+))"#).ok());
    let all = ATTRIBUTE.iter().flat_map(move |attribute| attribute.captures_iter(tag));
    all.filter_map(|one| {
        let value = (2..=4).find_map(|group| one.get(group)).map_or("", |value| value.as_str());
        Some((one.get(1)?.as_str(), value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn links_are_found_and_resolved() {
        let html = r##"<A class=x HREF="b.html#part">b</a><a href='/c?x=1&amp;y=2'>c</a><a href=../d>d</a>
            <a href="e.html" rel="noopener NoFollow">e</a><a rel=nofollow href=f.html>f</a><a href="b.html">again</a><a name="no"></a><a href="mailto:x@y">m</a><link href="style.css">"##;
        let found: Vec<String> = links(html, &url("https://h/f/a.html")).iter().map(Url::to_string).collect();
        assert_eq!(found, ["https://h/f/b.html", "https://h/c?x=1&y=2", "https://h/d", "mailto:x@y"]);
        let based = links(r#"<base href="https://o/x/"><a href="y">"#, &url("https://h/"));
        assert_eq!(based, [url("https://o/x/y")]);
    }

    #[test]
    fn scopes_hold() {
        let scope =
            |kind| Scope::new(vec![url("https://www.a.org/docs/index.html")], kind, (&[], &[])).unwrap();
        let cases = [
            ("https://www.a.org/docs/x", [true, true, true]),
            ("https://www.a.org/blog", [false, true, true]),
            ("https://b.a.org/docs/x", [false, false, true]),
            ("https://a.org/", [false, false, true]),
            ("https://evila.org/docs/", [false, false, false]),
            ("https://www.a.org:8443/docs/x", [false, false, false]),
            ("ftp://www.a.org/docs/x", [false, false, false]),
        ];
        for (page, expected) in cases {
            let kinds = [None, Some(WebScopeType::HostOnly), Some(WebScopeType::Subdomains)];
            assert_eq!(kinds.map(|kind| scope(kind).reaches(&url(page))), expected, "{page}");
        }
    }

    #[test]
    fn filters_and_wishes_are_respected() {
        let patterns = |text: &str| vec![text.to_owned()];
        let scope = Scope::new(vec![url("https://a/")], None, (&patterns(r".*\.html$"), &patterns("secret")))
            .unwrap();
        assert!(scope.wants(&url("https://a/x.html")));
        assert!(!scope.wants(&url("https://a/x.pdf")) && !scope.wants(&url("https://a/secret/x.html")));
        assert!(Scope::new(vec![], None, (&patterns("("), &[])).is_err());
        let asked = wishes(r#"<META name="robots" content="NOINDEX, nofollow">"#);
        assert_eq!(asked, Wishes { no_index: true, no_follow: true });
        assert_eq!(wishes("<meta name=x content=noindex>"), Wishes::default());
    }
}
