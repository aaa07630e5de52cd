//! A site on this machine, crawled.

use std::collections::BTreeMap;
use std::sync::Arc;

use craton_api_bedrock_agent::IngestionJobStatus::{Complete, Failed};
use craton_store::Store;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::{Ids, World, counters};

/// Pages by path: status and body, or where to go instead.
type Pages = Arc<Mutex<BTreeMap<String, (u16, String)>>>;

/// A site that counts who asked for what.
struct Site {
    url: String,
    pages: Pages,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Site {
    async fn open(pages: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let page = |(path, body): &(&str, &str)| ((*path).to_owned(), (200, (*body).to_owned()));
        let pages: Pages = Arc::new(Mutex::new(pages.iter().map(page).collect()));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (served, seen) = (Arc::clone(&pages), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if socket.read(&mut byte).await.unwrap_or(0) == 0 {
                        break;
                    }
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                seen.lock().push(path.clone());
                let (status, body) = served.lock().get(&path).cloned().unwrap_or((404, String::new()));
                let kind = if path.ends_with(".txt") { "text/plain" } else { "text/html" };
                let extra = if status == 302 { format!("Location: {body}\r\n") } else { String::new() };
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nConnection: close\r\n{extra}Content-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        });
        Self { url, pages, asked }
    }

    fn set(&self, path: &str, status: u16, body: &str) {
        self.pages.lock().insert(path.into(), (status, body.into()));
    }

    /// A data source on it.
    async fn source(&self, world: &World, crawler: Value) -> Ids {
        let base = world.create_base("web").await.unwrap();
        let seed = format!("{}/docs/index.html", self.url);
        let mut crawler = crawler;
        crawler["crawlerLimits"]["rateLimit"] = json!(300);
        let configuration = json!({ "dataSourceConfiguration": { "type": "WEB", "webConfiguration": {
            "sourceConfiguration": { "urlConfiguration": { "seedUrls": [{ "url": seed }] } },
            "crawlerConfiguration": crawler } } });
        Ids { source: world.create_source(&base, configuration).await.unwrap(), base }
    }
}

const INDEX: &str = r#"<h1>Docs</h1><a href="a.html">a</a> <a href="/docs/b.html#x">b</a> <a href="/blog/c.html">c</a>
    <a href="http://example.com/d.html">d</a> <a href="private.html">p</a> <a href="moved.html">m</a>"#;

async fn site() -> Site {
    let site = Site::open(&[
        ("/docs/index.html", INDEX),
        ("/docs/a.html", "<p>Apples are red.</p><a href='index.html'>back</a>"),
        ("/docs/b.html", "<meta name='robots' content='noindex'><p>Bananas.</p><a href='deep/e.html'>e</a>"),
        ("/docs/deep/e.html", "<p>Elderberries.</p>"),
        ("/docs/private.html", "<p>Secrets.</p>"),
        ("/docs/target.html", "<p>Moved here.</p>"),
        ("/blog/c.html", "<p>Cherries.</p>"),
        ("/robots.txt", "User-agent: *\nDisallow: /docs/private"),
    ])
    .await;
    site.set("/docs/moved.html", 302, "/docs/target.html");
    site
}

#[tokio::test]
async fn a_site_is_crawled_within_its_scope_and_as_it_wishes() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let site = site().await;
    let ids = site.source(&world, json!({})).await;
    assert_eq!(world.counters(&ids).await[..3], [4, 0, 4]);
    let pages = |texts: BTreeMap<String, Vec<String>>| -> Vec<String> {
        texts.into_keys().map(|page| page.replace(&site.url, "")).collect()
    };
    let expected = ["/docs/a.html", "/docs/deep/e.html", "/docs/index.html", "/docs/target.html"];
    assert_eq!(pages(world.texts().await), expected);
    assert!(!site.asked.lock().iter().any(|path| path.contains("private") || path.contains("blog")));

    // A page that fails for a while stays, one that is gone goes, a changed one is read anew.
    site.set("/docs/a.html", 503, "");
    site.set("/docs/deep/e.html", 404, "");
    site.set("/docs/target.html", 200, "<p>Changed.</p>");
    let job = world.sync(&ids).await;
    assert_eq!((job.status, counters(&job)), (Complete, [3, 0, 0, 1, 0, 1, 1, 0]), "{job:?}");
    assert_eq!(pages(world.texts().await), ["/docs/a.html", "/docs/index.html", "/docs/target.html"]);

    // A site that is down empties nothing.
    for (page, status) in
        [("/docs/index.html", 500), ("/docs/index.html", 404), ("/robots.txt", 503), ("/robots.txt", 429)]
    {
        let before = site.pages.lock().get(page).cloned().unwrap();
        site.set(page, status, "");
        let job = world.sync(&ids).await;
        assert_eq!(job.status, Failed, "{page} {status}");
        let reason = &job.failure_reasons.unwrap()[0];
        assert!(reason.contains(if status == 404 { "no such page" } else { page }), "{status}: {reason}");
        assert_eq!(world.texts().await.len(), 3, "{page} {status}");
        site.set(page, before.0, &before.1);
    }
    site.set("/robots.txt", 200, "User-agent: *\nDisallow: /");
    let job = world.sync(&ids).await;
    assert_eq!((job.status, world.texts().await.len()), (Failed, 3));
}

#[tokio::test]
async fn pages_behind_one_that_fails_stay_and_excluded_ones_are_not_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let site = Site::open(&[
        ("/docs/index.html", "<p>Start.</p><a href='a.html'>a</a> <a href='logout.html'>x</a> <a rel='nofollow' href='n.html'>n</a>"),
        ("/docs/a.html", "<p>Apples.</p><a href='deep.html'>deep</a>"),
        ("/docs/deep.html", "<p>Deep.</p>"),
        ("/docs/n.html", "<p>Not for crawlers.</p>"),
        ("/docs/logout.html", "<p>Bye.</p>"),
    ])
    .await;
    let ids = site.source(&world, json!({ "exclusionFilters": [".*logout.*"] })).await;
    assert_eq!(world.counters(&ids).await[..3], [3, 0, 3]);
    assert!(!site.asked.lock().iter().any(|path| path.contains("logout") || path.contains("/n.html")));
    site.set("/docs/a.html", 503, "");
    let job = world.sync(&ids).await;
    assert_eq!((job.status, world.texts().await.len()), (Complete, 3), "{job:?}");
    // When all could be looked at, what nothing leads to is gone.
    site.set("/docs/a.html", 200, "<p>Apples.</p>");
    let job = world.sync(&ids).await;
    assert_eq!((job.status, world.texts().await.len()), (Complete, 2), "{job:?}");
}

#[tokio::test]
async fn filters_and_limits_hold() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let site = site().await;
    let crawler =
        json!({ "scope": "HOST_ONLY", "exclusionFilters": [".*/deep/.*"], "inclusionFilters": [".*html$"] });
    let ids = site.source(&world, crawler).await;
    assert_eq!(world.counters(&ids).await[0], 4);
    let texts: Vec<String> = world.texts().await.into_values().flatten().collect();
    assert!(
        texts.iter().any(|text| text.contains("Cherries"))
            && !texts.iter().any(|text| text.contains("Elder"))
    );
    drop(world);

    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let ids = site.source(&world, json!({ "crawlerLimits": { "maxPages": 2 } })).await;
    assert_eq!(world.counters(&ids).await[0], 2);
}

#[tokio::test]
async fn private_networks_are_out_of_reach_unless_configured() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    let mut world = World::configured(store, directory.path(), Default::default());
    world.work().await;
    let site = site().await;
    let by_name = Site { url: site.url.replace("127.0.0.1", "localhost"), ..site };
    let ids = by_name.source(&world, json!({})).await;
    let job = world.sync(&ids).await;
    assert_eq!(job.status, Failed);
    assert!(job.failure_reasons.unwrap()[0].contains("not on the public network"));
    assert!(by_name.asked.lock().is_empty());
}

#[tokio::test]
async fn a_crawl_shows_how_far_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let links: String = (0..15).map(|n| format!("<a href='p{n}.html'>page</a>")).collect();
    let site = Site::open(&[("/docs/index.html", &links)]).await;
    for n in 0..15 {
        site.set(&format!("/docs/p{n}.html"), 200, &format!("<p>Page {n}.</p>"));
    }
    let ids = site.source(&world, json!({})).await;
    let job = world.start(&ids).await.unwrap();
    let mut seen = std::collections::BTreeSet::new();
    loop {
        let found = world.job(&ids, &job).await;
        if found.status == Complete {
            break;
        }
        assert_ne!(found.status, Failed, "{found:?}");
        seen.insert(counters(&found)[0]);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(seen.iter().any(|count| (1..16).contains(count)), "{seen:?}");
    assert_eq!(counters(&world.job(&ids, &job).await)[..3], [16, 0, 16]);
}
