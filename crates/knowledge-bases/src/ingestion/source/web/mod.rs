//! Pages of web sites.
//!
//! Listing is crawling: breadth first from the seeds, within the scope, as robots.txt and the pages themselves allow,
//! at the configured rate. Pages are spooled to a temporary file as they come, so that a large site is never in memory,
//! and read from there. A page that answers with an error of the server's fails alone and keeps what was indexed of it, as
//! do pages that were not come by because of it; one that is gone leaves the index. A host whose robots.txt can't be had
//! is left alone, and its pages fail. A seed that fails ends the job, as does a crawl of which no seed can be had, so that
//! a site's bad hour does not empty the index.

mod fetch;
mod links;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use craton_api_bedrock_agent as api;
use craton_store::jobs::{JobContext, JobError};
use craton_vectors::SourceLocation;
use craton_wire::ApiError;
use parking_lot::Mutex;
use texting_robots::Robot;
use tokio::time::Instant;
use url::Url;

use super::{Listed, Listing, Source};
use crate::config::KnowledgeBasesConfig;
use crate::ingestion::failure::Failure;
use crate::ingestion::parse::{Content, MetadataContent, content_hash};
use fetch::{FetchError, Fetched, Fetcher};
use links::{Scope, canonical, links};

const AGENT: &str = "craton-crawler";
/// AWS's defaults and bounds: pages a minute of one host, pages in all, seeds.
const RATE: u32 = 300;
const MOST_PAGES: usize = 25_000;
const MOST_SEEDS: usize = 100;
const REDIRECTS: usize = 5;
/// Longest pause that a robots.txt can ask for.
const LONGEST_DELAY_S: f32 = 60.0;

pub(crate) struct WebSource {
    seeds: Vec<Url>,
    scope: Scope,
    fetcher: Fetcher,
    agent: String,
    max_pages: usize,
    /// Between two pages of one host.
    pause: Duration,
    spool: Arc<Mutex<Spool>>,
}

/// Pages that were crawled, in a file that goes with the process.
#[derive(Default)]
struct Spool {
    file: Option<std::fs::File>,
    /// Where a page's bytes are, by its URL; the reason where it has none.
    pages: HashMap<String, Result<(u64, usize, String), String>>,
}

impl Spool {
    fn keep(&mut self, url: &str, body: &[u8], content_type: String) -> std::io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile()?),
        };
        let at = file.seek(SeekFrom::End(0))?;
        file.write_all(body)?;
        self.pages.insert(url.to_owned(), Ok((at, body.len(), content_type)));
        Ok(())
    }

    fn take(&mut self, at: u64, length: usize) -> std::io::Result<Bytes> {
        let file = self.file.as_mut().ok_or_else(|| std::io::Error::other("no page was crawled"))?;
        file.seek(SeekFrom::Start(at))?;
        let mut body = vec![0; length];
        file.read_exact(&mut body)?;
        Ok(body.into())
    }
}

impl WebSource {
    pub(super) fn new(
        configuration: &api::WebDataSourceConfiguration,
        config: &KnowledgeBasesConfig,
    ) -> Result<Self, ApiError> {
        let seeds = configuration.source_configuration.url_configuration.seed_urls.iter().flatten();
        let seeds: Vec<Url> =
            seeds.filter_map(|seed| seed.url.as_deref()).map(seed).collect::<Result<_, _>>()?;
        if seeds.is_empty() || seeds.len() > MOST_SEEDS {
            return Err(ApiError::validation(format!("seedUrls must have 1 to {MOST_SEEDS} URLs.")));
        }
        let crawler = configuration.crawler_configuration.as_ref();
        let limits = crawler.and_then(|crawler| crawler.crawler_limits.as_ref());
        let count =
            |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok()).filter(|n| *n > 0);
        let rate = count(limits.and_then(|limits| limits.rate_limit)).unwrap_or(RATE);
        let max_pages =
            count(limits.and_then(|limits| limits.max_pages)).map_or(MOST_PAGES, |pages| pages as usize);
        let patterns = |which: fn(&api::WebCrawlerConfiguration) -> &Option<Vec<String>>| {
            crawler.and_then(|crawler| which(crawler).clone()).unwrap_or_default()
        };
        let include = patterns(|crawler| &crawler.inclusion_filters);
        let exclude = patterns(|crawler| &crawler.exclusion_filters);
        let agent =
            crawler.and_then(|crawler| crawler.user_agent.clone()).unwrap_or_else(|| AGENT.to_owned());
        let header =
            crawler.and_then(|crawler| crawler.user_agent_header.clone()).unwrap_or_else(|| agent.clone());
        let max_bytes = usize::try_from(config.max_document_bytes).unwrap_or(usize::MAX);
        Ok(Self {
            scope: Scope::new(
                seeds.clone(),
                crawler.and_then(|crawler| crawler.scope),
                (&include, &exclude),
            )?,
            fetcher: Fetcher::new(config.crawl_private_networks, &header, max_bytes),
            seeds,
            agent,
            max_pages: max_pages.min(MOST_PAGES),
            pause: Duration::from_secs(60) / rate,
            spool: Arc::default(),
        })
    }
}

fn seed(text: &str) -> Result<Url, ApiError> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.map(canonical).ok_or_else(|| ApiError::validation(format!("{text} is not the URL of a web page.")))
}

/// One crawl.
struct Crawl<'a> {
    found: &'a AtomicUsize,
    source: &'a WebSource,
    job: &'a JobContext,
    robots: HashMap<String, Robots>,
    queue: VecDeque<Url>,
    seen: HashSet<Url>,
    documents: Vec<Listed>,
    /// Pages that were looked at, listed or not.
    visited: HashSet<String>,
    /// Some page failed: others may not have been come by.
    partial: bool,
    /// Why seeds gave no page, and whether one did.
    without: Vec<String>,
    seeded: bool,
}

/// What a host asks of crawlers.
struct Robots {
    rules: Option<Robot>,
    /// Why they are not known; nothing is fetched then.
    unknown: Option<String>,
    pause: Duration,
    next: Instant,
}

/// What came of a page.
enum Visit {
    Page {
        url: Url,
        content_type: String,
        body: Bytes,
    },
    /// There is none, or none for us.
    Nothing(&'static str),
    Failed(String),
}

impl Crawl<'_> {
    async fn run(&mut self) -> Result<(), Failure> {
        while let Some(url) = self.queue.pop_front() {
            self.job.check()?;
            if self.documents.len() >= self.source.max_pages {
                break;
            }
            let is_seed = self.source.seeds.contains(&url);
            self.visited.insert(url.as_str().to_owned());
            match self.visit(&url).await {
                Visit::Page { url, content_type, body } => {
                    self.seeded |= is_seed;
                    self.take(&url, content_type, body).await?;
                }
                Visit::Nothing(why) if is_seed => self.without.push(format!("{url}: {why}")),
                Visit::Nothing(_) => {}
                Visit::Failed(reason) if is_seed => return Err(unreadable(&format!("{url}: {reason}"))),
                Visit::Failed(reason) => {
                    self.partial = true;
                    self.note(&url, reason);
                }
            }
        }
        match self.without.is_empty() || self.seeded {
            true => Ok(()),
            false => Err(unreadable(&self.without.join("; "))),
        }
    }

    /// Fetches a page and what it redirects to, as far as that is within the scope.
    async fn visit(&mut self, url: &Url) -> Visit {
        let mut url = url.clone();
        for _ in 0..=REDIRECTS {
            match self.may_fetch(&url).await {
                Ok(true) => {}
                Ok(false) => return Visit::Nothing("robots.txt keeps it from crawlers"),
                Err(reason) => return Visit::Failed(reason),
            }
            match self.source.fetcher.fetch(&url).await {
                Ok(Fetched::Page { content_type, body }) => return Visit::Page { url, content_type, body },
                Ok(Fetched::Gone) => return Visit::Nothing("there is no such page, or not for everybody"),
                Ok(Fetched::Redirect(target)) => {
                    url = canonical(target);
                    if !self.source.scope.may_visit(&url) {
                        return Visit::Nothing("it redirects to a page outside of the scope");
                    }
                    if !self.seen.insert(url.clone()) {
                        return Visit::Nothing("it redirects to a page that was come by before");
                    }
                    self.visited.insert(url.as_str().to_owned());
                }
                Err(error) => return Visit::Failed(error.to_string()),
            }
        }
        Visit::Failed(format!("it redirects more than {REDIRECTS} times"))
    }

    /// Waits for the host's next turn. False when its robots.txt keeps the page from us, an error when that can't be known.
    async fn may_fetch(&mut self, url: &Url) -> Result<bool, String> {
        let origin = url.origin().ascii_serialization();
        if !self.robots.contains_key(&origin) {
            let robots = self.ask(url).await;
            self.robots.insert(origin.clone(), robots);
        }
        let Some(robots) = self.robots.get_mut(&origin) else { return Ok(false) };
        if let Some(why) = &robots.unknown {
            return Err(why.clone());
        }
        if robots.rules.as_ref().is_some_and(|rules| !rules.allowed(url.as_str())) {
            return Ok(false);
        }
        tokio::time::sleep_until(robots.next).await;
        robots.next = Instant::now() + robots.pause;
        Ok(true)
    }

    /// A host without a robots.txt asks for nothing; one whose robots.txt can't be had is left alone, as crawlers do.
    async fn ask(&self, url: &Url) -> Robots {
        let mut address = url.clone();
        address.set_path("/robots.txt");
        address.set_query(None);
        let mut fetched = self.source.fetcher.fetch(&address).await;
        for _ in 0..REDIRECTS {
            let Ok(Fetched::Redirect(target)) = fetched else { break };
            fetched = self.source.fetcher.fetch(&target).await;
        }
        let text: &[u8] = match &fetched {
            Ok(Fetched::Page { body, .. }) => &body[..body.len().min(512 << 10)],
            Ok(Fetched::Gone | Fetched::Redirect(_)) => b"",
            // Whether the host can be reached at all shows when its page is fetched.
            Err(FetchError::Unreachable(_) | FetchError::Private | FetchError::Timeout) => b"",
            Err(FetchError::Status(_) | FetchError::TooLarge(_)) => b"",
        };
        let unknown = match &fetched {
            Err(error @ (FetchError::Status(_) | FetchError::TooLarge(_))) => {
                Some(format!("{address} can't be read: {error}"))
            }
            _ => None,
        };
        let rules = Robot::new(&self.source.agent, text).ok();
        let asked = rules.as_ref().and_then(|rules| rules.delay).filter(|delay| delay.is_finite());
        let asked = Duration::from_secs_f32(asked.unwrap_or(0.0).clamp(0.0, LONGEST_DELAY_S));
        Robots { rules, unknown, pause: self.source.pause.max(asked), next: Instant::now() }
    }

    /// Keeps a page that is wanted, and queues the pages it leads to.
    async fn take(&mut self, url: &Url, content_type: String, body: Bytes) -> Result<(), Failure> {
        let is_html = content_type.is_empty() || content_type.to_ascii_lowercase().contains("html");
        let mut wishes = links::Wishes::default();
        if is_html {
            let (page, html) = (url.clone(), body.clone());
            let read = move || {
                let html = String::from_utf8_lossy(&html);
                let wishes = links::wishes(&html);
                let found = if wishes.no_follow { Vec::new() } else { links(&html, &page) };
                Ok((wishes, found))
            };
            let found;
            (wishes, found) = blocking(read).await?;
            for link in found {
                if self.source.scope.may_visit(&link)
                    && self.seen.len() < 4 * MOST_PAGES
                    && self.seen.insert(link.clone())
                {
                    self.queue.push_back(link);
                }
            }
        }
        if wishes.no_index || !self.source.scope.wants(url) {
            return Ok(());
        }
        let (spool, address, bytes) = (Arc::clone(&self.source.spool), url.to_string(), body.len() as u64);
        let keep = move || {
            spool.lock().keep(&address, &body, content_type)?;
            Ok(content_hash(&body))
        };
        let kept = blocking(keep).await;
        let hash = kept.map_err(|error| JobError::Fail(format!("Crawled pages can't be kept: {error}")))?;
        self.list(url, hash, bytes);
        Ok(())
    }

    /// A page that could not be had: it fails by itself when it is read.
    fn note(&mut self, url: &Url, reason: String) {
        if self.source.scope.wants(url) {
            self.source.spool.lock().pages.insert(url.as_str().to_owned(), Err(reason));
            self.list(url, "unread".into(), 0);
        }
    }

    fn list(&mut self, url: &Url, fingerprint: String, bytes: u64) {
        let location = SourceLocation::Web(url.as_str().to_owned());
        self.found.fetch_add(1, Ordering::Relaxed);
        self.documents.push(Listed { location, fingerprint, bytes, metadata_fingerprint: String::new() });
    }
}

fn unreadable(why: &str) -> Failure {
    Failure::Job(JobError::Fail(format!("The data source can't be read: {why}")))
}

/// Runs what computes or waits for the disk beside the event loop.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, JobError> {
    let done =
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    done.map_err(|error| JobError::Retry(error.to_string()))
}

#[async_trait::async_trait]
impl Source for WebSource {
    async fn list(&self, job: &JobContext, found: &AtomicUsize) -> Result<Listing, Failure> {
        let mut crawl = Crawl {
            source: self,
            job,
            found,
            robots: HashMap::new(),
            queue: self.seeds.iter().cloned().collect(),
            seen: self.seeds.iter().cloned().collect(),
            documents: Vec::new(),
            visited: HashSet::new(),
            partial: false,
            without: Vec::new(),
            seeded: false,
        };
        crawl.run().await?;
        let gone = crawl.partial.then_some(crawl.visited);
        let mut documents = crawl.documents;
        documents.sort_by(|a, b| a.location.uri().cmp(b.location.uri()));
        Ok(Listing { documents, metadata_files: 0, gone })
    }

    async fn read(&self, listed: &Listed) -> Result<Content, Failure> {
        let uri = listed.location.uri();
        let found = self.spool.lock().pages.get(uri).cloned();
        let (at, length, content_type) = match found {
            Some(Ok(page)) => page,
            Some(Err(reason)) => return Err(Failure::Document(reason)),
            None => return Err(Failure::document("it was not crawled")),
        };
        let spool = Arc::clone(&self.spool);
        let bytes = blocking(move || spool.lock().take(at, length)).await;
        let bytes = bytes.map_err(|error| Failure::Job(JobError::Retry(error.to_string())))?;
        let hint = if content_type.is_empty() { "text/html".to_owned() } else { content_type };
        Ok(Content { bytes, hint, metadata: MetadataContent::None })
    }
}
