//! What the front door learned of a connection, carried to every request on it, and the few words
//! that the door and the request path exchange while it lives.
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;
use tokio::sync::Notify;

use crate::base::{ClientAddr, Denial, ListenerIx, Name, Pseudonym, RevokedFault};
use crate::config::Bounds;
use crate::evidence::{Protocol, TlsVersion};
use crate::identity::{PeerCertificate, Proven, Shown};
use crate::policy::NetworkMask;
use crate::state::IdentityPermit;

/// Tokens of one connection that are remembered when no request is under way with them, the latest
/// ones. Those of requests that are under way are all known.
const TOKENS_MAX: usize = 16;

/// Refusals that a connection bears while nobody has proved itself on it.
const REFUSALS_MAX: u32 = 8;

/// Facts that hold for the whole life of a connection. Made by `listen` after NET-1, NET-3 and TLS-1
/// were satisfied; there is no other way to reach the request path.
#[derive(Debug)]
pub struct ConnFacts {
    pub listener: ListenerIx,
    /// For records, also when no configuration in force knows it any more.
    pub listener_name: Name,
    /// The real client, behind a balancer too (NET-3).
    pub addr: ClientAddr,
    /// Stands for the address in every record; made once, under the key of `source_day`.
    pub source: Pseudonym,
    pub source_day: u32,
    /// Stands for the client's network where it is counted and locked: keyed, never written down.
    pub source_hash: u64,
    /// What the client's TLS looks like: equal for the same program.
    pub fingerprint: u64,
    /// Named networks that hold the address, by the snapshot of `generation`.
    pub networks: NetworkMask,
    pub generation: u64,
    /// The name the client asked for in its TLS hello, in lower case.
    pub server_name: Option<Box<str>>,
    /// The client's certificate, its chain verified in the handshake.
    pub certificate: Option<PeerCertificate>,
    /// That chain, to be verified again when the authorities may have changed.
    pub chain: Vec<CertificateDer<'static>>,
    /// Under which authorities it was verified.
    pub authorities: u64,
    /// The balancer that spoke for the client, where there is one.
    pub balancer: Option<ClientAddr>,
    pub tls: TlsVersion,
    pub http: Protocol,
    pub bounds: Bounds,
}

/// Shared by the door (which sees bytes) and the gateway (which sees requests).
#[derive(Debug)]
pub struct ConnLink {
    pub facts: ConnFacts,
    /// HTTP/1: heads waited for; the door arms its head check when this moves. HTTP/2: requests that
    /// the engine handed over.
    begun: AtomicU32,
    /// The last request that reached the request path. An answer for one beyond it comes from the
    /// engine's parser and is replaced.
    owned: AtomicU32,
    /// HTTP/2: those that were served.
    served: AtomicU32,
    /// Requests that were refused before anybody had proved itself.
    refused: AtomicU32,
    /// Somebody has.
    proved: AtomicBool,
    wearied: Notify,
    body_fault: AtomicU8,
    /// HTTP/1: somebody waits for a request and will not take its bytes yet.
    probed: AtomicBool,
    backed_up: AtomicBool,
    stands_on: Mutex<Ground>,
    /// Whose socket it is, and until when the proof holds that opened it, in seconds since 1970.
    socket: OnceLock<(Name, u64)>,
    /// The authorities under which the chain was verified last, and whether it held.
    verified: Mutex<(u64, Chain)>,
    cut: OnceLock<Cut>,
    rung: Notify,
    /// Nobody can be answered on it any more.
    closed: AtomicBool,
}

/// Why a connection is cut, and whose access was revoked, if it was somebody's (ACC-3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cut {
    pub fault: RevokedFault,
    pub identity: Option<Name>,
}

/// Whom a connection was used by, and with what.
#[derive(Debug, Default)]
struct Ground {
    identities: Vec<Held>,
    /// The one used last is the last one.
    tokens: VecDeque<Used>,
}

/// A token that was used on a connection.
#[derive(Debug)]
struct Used {
    token: u64,
    who: Name,
    /// Requests that are under way with it.
    requests: u32,
}

impl Ground {
    fn take_token(&mut self, token: u64, who: &Name) {
        let known = self.tokens.iter().position(|used| used.token == token);
        let used = known.and_then(|place| self.tokens.remove(place));
        let mut used = used.unwrap_or_else(|| Used { token, who: who.clone(), requests: 0 });
        used.requests = used.requests.saturating_add(1);
        self.tokens.push_back(used);
    }

    fn give_token_back(&mut self, token: u64) {
        if let Some(used) = self.tokens.iter_mut().find(|used| used.token == token) {
            used.requests = used.requests.saturating_sub(1);
        }
        let idle = |used: &&Used| used.requests == 0;
        if self.tokens.iter().filter(idle).count() > TOKENS_MAX
            && let Some(oldest) = self.tokens.iter().position(|used| used.requests == 0)
        {
            self.tokens.remove(oldest);
        }
    }
}

/// A request is under way with a token; dropping it says that it is over.
#[derive(Debug)]
pub struct InUse {
    link: Arc<ConnLink>,
    token: u64,
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.link.stands_on.lock().give_token_back(self.token);
    }
}

/// Somebody who proved itself on a connection, the last time by this.
#[derive(Debug)]
struct Held {
    permit: IdentityPermit,
    shown: Shown,
}

/// Whether a client certificate still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chain {
    Holds,
    Broken,
}

impl ConnLink {
    #[must_use]
    pub fn new(facts: ConnFacts) -> Arc<Self> {
        Arc::new(Self {
            verified: Mutex::new((facts.authorities, Chain::Holds)),
            facts,
            begun: AtomicU32::new(0),
            owned: AtomicU32::new(0),
            served: AtomicU32::new(0),
            refused: AtomicU32::new(0),
            proved: AtomicBool::new(false),
            wearied: Notify::new(),
            body_fault: AtomicU8::new(0),
            probed: AtomicBool::new(false),
            backed_up: AtomicBool::new(false),
            stands_on: Mutex::default(),
            socket: OnceLock::new(),
            cut: OnceLock::new(),
            rung: Notify::new(),
            closed: AtomicBool::new(false),
        })
    }

    /// The gateway waits for the next request head, or has the next HTTP/2 request. How many that
    /// makes.
    pub fn begin_request(&self) -> u32 {
        self.body_fault.store(0, Ordering::Release);
        self.begun.fetch_add(1, Ordering::AcqRel).saturating_add(1)
    }

    /// HTTP/2: one of the requests that were begun was served.
    pub fn end_request(&self) {
        self.served.fetch_add(1, Ordering::AcqRel);
    }

    /// HTTP/2: whether a request is under way.
    pub fn is_busy(&self) -> bool {
        self.served.load(Ordering::Acquire) != self.begun.load(Ordering::Acquire)
    }

    /// Whether anybody has proved itself on this connection (MON-5: who has not gets little patience).
    pub fn is_proved(&self) -> bool {
        self.proved.load(Ordering::Acquire)
    }

    /// A request is refused; whether the connection bears another one.
    pub fn bears_refusal(&self) -> bool {
        if self.is_proved() {
            return true;
        }
        let refused = self.refused.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        if refused == REFUSALS_MAX {
            self.wearied.notify_one();
        }
        refused < REFUSALS_MAX
    }

    /// Returns when it bears no more. For the one task that serves it.
    pub async fn wearied(&self) {
        self.wearied.notified().await;
    }

    /// The request path has the request that was begun last.
    pub fn own_request(&self) {
        self.owned.store(self.begun.load(Ordering::Acquire), Ordering::Release);
    }

    pub fn begun(&self) -> u32 {
        self.begun.load(Ordering::Acquire)
    }

    pub fn is_owned(&self) -> bool {
        self.owned.load(Ordering::Acquire) == self.begun.load(Ordering::Acquire)
    }

    /// The door tells why it stopped reading a request's body.
    pub fn set_body_fault(&self, fault: BodyFault) {
        self.body_fault.store(fault as u8, Ordering::Release);
    }

    pub fn body_fault(&self) -> Option<Denial> {
        match self.body_fault.load(Ordering::Acquire) {
            1 => Some(Denial::BodyTooSlow),
            2 => Some(Denial::Head(crate::base::HeadFault::TransferCoding)),
            _ => None,
        }
    }

    /// The next read waits for bytes, gives one of no meaning when they are there, and keeps them for
    /// the read after it: who waits so needs no engine and no buffer meanwhile.
    pub fn probe(&self) {
        self.probed.store(true, Ordering::Release);
    }

    /// Whether the next read is such a one.
    pub fn is_probed(&self) -> bool {
        self.probed.load(Ordering::Acquire)
    }

    /// It has had its answer.
    pub fn end_probe(&self) {
        self.probed.store(false, Ordering::Release);
    }

    /// HTTP/2: the door tells whether bytes of bodies lie there that nobody takes.
    pub fn set_backed_up(&self, backed_up: bool) {
        self.backed_up.store(backed_up, Ordering::Release);
    }

    /// Whether it is not the client that is waited for.
    pub fn is_backed_up(&self) -> bool {
        self.backed_up.load(Ordering::Acquire)
    }

    /// The client's certificate, if it still counts under these authorities: `verify` is asked once for
    /// each that are not the handshake's own (ACC-3).
    pub fn certificate_under(
        &self,
        authorities: u64,
        verify: impl FnOnce(&[CertificateDer<'static>]) -> bool,
    ) -> Option<&PeerCertificate> {
        let certificate = self.facts.certificate.as_ref()?;
        let mut verified = self.verified.lock();
        if verified.0 != authorities {
            let chain = if verify(&self.facts.chain) { Chain::Holds } else { Chain::Broken };
            *verified = (authorities, chain);
        }
        (verified.1 == Chain::Holds).then_some(certificate)
    }

    /// Whoever proved itself on this connection.
    pub fn identities(&self) -> Vec<Name> {
        self.stands_on.lock().identities.iter().map(|held| held.permit.who().clone()).collect()
    }

    /// The same, with how each did so.
    pub(super) fn proofs(&self) -> Vec<(Name, Shown)> {
        let ground = self.stands_on.lock();
        ground.identities.iter().map(|held| (held.permit.who().clone(), held.shown)).collect()
    }

    /// The first token used on this connection of which `is_denied` is true, and whose it was.
    pub(super) fn denied_token(&self, is_denied: impl Fn(u64) -> bool) -> Option<Name> {
        let ground = self.stands_on.lock();
        ground.tokens.iter().find(|used| is_denied(used.token)).map(|used| used.who.clone())
    }

    /// A request turned into a socket, which has the connection for itself and no request after it.
    pub(super) fn opened_socket(&self, who: Name, until: u64) {
        let _first = self.socket.set((who, until));
    }

    /// Whose socket it is, and until when, if it is one.
    pub(super) fn socket(&self) -> Option<&(Name, u64)> {
        self.socket.get()
    }

    /// Ends the connection, once; whoever serves it is woken.
    pub(super) fn cut(&self, cut: Cut) -> bool {
        let first = self.cut.set(cut).is_ok();
        self.rung.notify_one();
        first
    }

    /// Why the connection was cut, if it was.
    #[must_use]
    pub fn why_cut(&self) -> Option<&Cut> {
        self.cut.get()
    }

    /// Returns when the connection is cut. For the one task that serves it.
    pub async fn cut_off(&self) {
        while self.cut.get().is_none() {
            self.rung.notified().await;
        }
    }

    /// The connection is over, however it came to that.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Whether it is: over HTTP/2 requests are tasks of their own, and outlive it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Remembers that this connection counts for an identity; `take` is asked only once for each. A
    /// request that brought a token is under way with it as long as what comes back lives.
    pub fn hold_identity<E>(
        self: &Arc<Self>,
        who: &Name,
        proven: &Proven,
        take: impl FnOnce() -> Result<IdentityPermit, E>,
    ) -> Result<Option<InUse>, E> {
        let mut ground = self.stands_on.lock();
        if let Some(held) = ground.identities.iter_mut().find(|held| held.permit.who() == who) {
            held.shown = proven.shown();
        } else {
            ground.identities.push(Held { permit: take()?, shown: proven.shown() });
            self.proved.store(true, Ordering::Release);
        }
        Ok(proven.token().map(|token| {
            ground.take_token(token, who);
            InUse { link: Arc::clone(self), token }
        }))
    }
}

/// Why the door stopped reading a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BodyFault {
    TooSlow = 1,
    Framing = 2,
}
