//! What the series is played on: a folder with certificates and a configuration, the mock, a store
//! that can't be trusted, and the gateway.
use std::fs::DirBuilder;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::series::{Act, Place};
use crate::base::{Clock, Moment};
use crate::cli::check;
use crate::cli::run::Running;
use crate::cli::say::Failure;
use crate::config;
use crate::devcerts::{DevPki, Existing, Leaf, PkiPlan};
use crate::evidence::Utc;
use crate::mock::{
    Alpn, Call, CallFault, Caller, CallerConfig, Flow, LwaClient, MockConfig, MockHandle,
    MockSpApi, PLANTED, Personality, Rate, Reply, Throttling,
};

const CONF: &str = include_str!("sekisho.toml");
const POLICY: &str = include_str!("policy.toml");
/// Identities of the policy that have a certificate.
const CLIENTS: [&str; 3] = ["label-printer", "night-import", "former-clerk"];
/// How long a line may take from the end of its request to the file, on a machine that stands still for
/// a while, too. Nobody waits for it where all is well.
const LINE_WITHIN: Duration = Duration::from_secs(20);
/// Days until the identities' access review, as the policy has it.
const REVIEW: Duration = Duration::from_secs(80 * 86_400);

/// Everything that runs.
pub(super) struct Stage {
    pub(super) gateway: Running,
    pub(super) amazon: MockHandle,
    pub(super) warehouse: MockHandle,
    pub(super) pki: DevPki,
    pub(super) lwa: LwaClient,
    pub(super) now: Moment,
    folder: Folder,
}

/// What earlier answers gave, for later requests.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Amazon's access token.
    pub(super) access: String,
    /// An order's id.
    pub(super) order: String,
    /// Every token that was sent or received, to be searched for in the log.
    pub(super) tokens: Vec<String>,
    /// The planted strings that answers held.
    pub(super) planted: Vec<&'static str>,
}

/// What one act brought.
pub(super) struct Seen {
    /// Path and query as they were sent.
    pub(super) target: String,
    pub(super) reply: Result<Reply, CallFault>,
    /// The line in the access log.
    pub(super) line: Option<String>,
    /// How many planted strings the answer holds.
    pub(super) personal: usize,
    /// Requests that reached the store that can't be trusted.
    pub(super) leaked: u64,
}

/// What was searched for in the log.
pub(super) struct Search {
    pub(super) lines: usize,
    pub(super) searched: usize,
    pub(super) answered: usize,
    pub(super) tokens: usize,
    /// Should be empty.
    pub(super) found: Vec<String>,
}

impl Stage {
    pub(super) async fn set(clock: Clock) -> Result<Self, Failure> {
        let now = clock.now();
        let folder = Folder::make(now)?;
        let plan = PkiPlan {
            clients: CLIENTS.map(str::to_owned).to_vec(),
            environment: "demo".to_owned(),
            listeners: ["apps", "office-only"].map(str::to_owned).to_vec(),
            ..PkiPlan::default()
        };
        let pki = DevPki::generate(&plan, now).map_err(Failure::new)?;
        pki.write(&folder.0.join("certs"), Existing::Keep).map_err(Failure::new)?;
        let amazon = start(Personality::Amazon, &pki.upstream).await?;
        let warehouse = start(Personality::Warehouse, &pki.rogue.server).await?;

        let conf = CONF.replace("@amazon@", &amazon.url()).replace("@warehouse@", &warehouse.url());
        let review = Utc::of(now.plus(REVIEW)).rfc3339();
        let review = String::from_utf8_lossy(review.get(..10).unwrap_or_default()).into_owned();
        folder.write("sekisho.toml", &conf)?;
        folder.write("policy.toml", &POLICY.replace("@review@", &review))?;
        DirBuilder::new().mode(0o700).create(folder.0.join("state")).map_err(Failure::new)?;
        let path = folder.0.join("sekisho.toml");
        let loaded =
            config::load(&path, 1, now).map_err(|errors| check::refusal(&path, &errors))?;
        let gateway = Running::start(loaded, clock).await?;
        let lwa = LwaClient::default();
        Ok(Self { gateway, amazon, warehouse, pki, lwa, now, folder })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder.0
    }

    pub(super) fn address(&self, at: Place) -> Option<SocketAddr> {
        self.gateway.address(at.listener())
    }

    /// Sends what the act says, and finds the line that was written about it.
    pub(super) async fn play(&self, act: &Act, notes: &mut Notes) -> Seen {
        let target = act.target.replace("{order}", &notes.order);
        notes.tokens.extend(act.bearer.clone());
        self.amazon.clear_scenarios();
        self.amazon.set(act.amazon);
        self.amazon.script(act.first);
        let mut reply = Err(CallFault::Config);
        for _ in 0..act.times {
            reply = self.send(act, &target, &notes.access).await;
        }
        if let Ok(answer) = &reply {
            notes.take(answer);
        }
        let request = reply.as_ref().ok().and_then(|answer| answer.header("x-sekisho-request-id"));
        let line = match request {
            Some(id) => self.line_with(&[id]).await,
            None => self.line_with(&["address-refused", act.at.listener()]).await,
        };
        let personal = reply.as_ref().map_or(0, |answer| planted(answer).len());
        Seen { target, reply, line, personal, leaked: self.warehouse.total() }
    }

    async fn send(&self, act: &Act, target: &str, access: &str) -> Result<Reply, CallFault> {
        let to = self.address(act.at).ok_or(CallFault::Config)?;
        let caller = Caller::new(CallerConfig {
            identity: act.certificate.and_then(|name| self.pki.client(name)).cloned(),
            alpn: act.alpn,
            ..CallerConfig::trusting(self.pki.ca.certificate())
        })?;
        let mut call = Call::new(act.method.clone(), target).header("user-agent", "sekisho-demo/1");
        if let Some(form) = &act.form {
            call = call.header("content-type", "application/x-www-form-urlencoded");
            call.body = Flow::whole(form.clone());
        } else if !access.is_empty() {
            call = call.header("x-amz-access-token", access);
        }
        if let Some(token) = &act.bearer {
            call = call.header("authorization", &format!("Bearer {token}"));
        }
        caller.call(to, call).await
    }

    /// The newest line that holds all of these words. A record is written when its request has ended,
    /// which may be after the caller has the answer.
    async fn line_with(&self, words: &[&str]) -> Option<String> {
        let find = async {
            loop {
                let found = self
                    .lines()
                    .into_iter()
                    .rev()
                    .find(|line| words.iter().all(|word| line.contains(word)));
                if let Some(line) = found {
                    return line;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LINE_WITHIN, find).await.ok()
    }

    /// The access log so far.
    fn lines(&self) -> Vec<String> {
        tokio::task::block_in_place(|| {
            self.gateway.flush_log();
            let text = std::fs::read_to_string(self.folder.0.join("access.log"));
            text.unwrap_or_default().lines().map(str::to_owned).collect()
        })
    }

    /// Looks for every planted string and every token in every line.
    pub(super) fn search(&self, notes: &Notes) -> Search {
        let lines = self.lines();
        let mut found = Vec::new();
        for line in &lines {
            found.extend(
                PLANTED.iter().filter(|text| line.contains(**text)).map(|text| (*text).to_owned()),
            );
            let tokens = notes.tokens.iter().filter(|token| line.contains(token.as_str()));
            found.extend(tokens.map(|_| "a token".to_owned()));
        }
        Search {
            lines: lines.len(),
            searched: PLANTED.len(),
            answered: notes.planted.len(),
            tokens: notes.tokens.len(),
            found,
        }
    }

    /// Ends the gateway in order. The mocks and the folder go with it.
    pub(super) async fn strike(self) {
        self.gateway.stop().await;
    }
}

impl Notes {
    fn take(&mut self, answer: &Reply) {
        let body = answer.json();
        if let Some(access) = body.get("access_token").and_then(Value::as_str) {
            access.clone_into(&mut self.access);
            self.tokens.push(access.to_owned());
        }
        let order = body.pointer("/payload/Orders/0/AmazonOrderId").and_then(Value::as_str);
        if let Some(order) = order {
            order.clone_into(&mut self.order);
        }
        for text in planted(answer) {
            if !self.planted.contains(&text) {
                self.planted.push(text);
            }
        }
    }
}

/// The planted strings that an answer holds.
fn planted(answer: &Reply) -> Vec<&'static str> {
    let body = answer.text();
    PLANTED.iter().copied().filter(|text| body.contains(text)).collect()
}

async fn start(personality: Personality, leaf: &Leaf) -> Result<MockHandle, Failure> {
    let config = MockConfig {
        alpn: Alpn::Both,
        // Faster than Amazon, so that nobody in the audience waits for a minute.
        throttling: Throttling::Every(Rate { per_second: 2.0, burst: 20 }),
        ..MockConfig::new(personality, leaf.clone())
    };
    MockSpApi::start(config).await.map_err(Failure::new)
}

/// A folder of one's own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn make(now: Moment) -> Result<Self, Failure> {
        static NTH: AtomicU32 = AtomicU32::new(0);
        let (process, nth) = (std::process::id(), NTH.fetch_add(1, Ordering::Relaxed));
        let name = format!("sekisho-demo-{process}-{nth}-{}", now.unix_ms());
        let path = std::env::temp_dir().join(name);
        // Fails where something is there already, so nobody can have prepared it.
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| Failure::new(format_args!("{}: {error}", path.display())))?;
        Ok(Self(path))
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.0.join(name);
        std::fs::write(&path, text)
            .map_err(|error| Failure::new(format_args!("{}: {error}", path.display())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What can't be removed lies in the directory for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
