//! The connection to Redis: one, made again whenever it is lost, by a task of its own. A verb never
//! waits for it; without a connection it fails at once.
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, Script, Value,
};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::answer;
use super::guard::{Budget, Guarded};
use super::scripts::{Places, Scripts};
use super::{Endpoint, Login, MEMBER_FOR, Memory, RemoteSettings};
use crate::base::Use;
use crate::store::bell::Bell;
use crate::store::fault::{Condition, StoreFault};
use crate::store::stance::Peers;

/// Calls that may be under way at once: those that ask for units, of which every request may have some,
/// and all others, so that a lock does not wait behind requests.
const ASKING_MAX: usize = 256;
const OTHERS_MAX: usize = 64;
const BACK_OFF_MIN: Duration = Duration::from_millis(50);
const BACK_OFF_MAX: Duration = Duration::from_secs(1);
/// For how many beats a forged record is told of.
const SUSPECT_BEATS: u32 = 120;
/// The layout that this version writes.
pub(super) const SCHEMA: u32 = 1;

/// One connection. Dropping it closes it.
struct Wire {
    connection: MultiplexedConnection,
    budget: Arc<Budget>,
    driver: JoinHandle<()>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Who shares the store, and since when that has been heard without a break.
struct Heard {
    peers: Peers,
    since: Instant,
}

impl Heard {
    /// After a break, or of a server that began anew, only those are heard that were quicker. If it went
    /// again just then, each would take itself for one of a few, and their parts would add up to more
    /// than the whole. So they become fewer only once everybody had the time to be heard.
    fn hear(&mut self, peers: Peers) {
        if peers.count >= self.peers.count || self.since.elapsed() >= MEMBER_FOR {
            self.peers = peers;
        }
    }
}

/// What verbs and the task share.
pub(super) struct Link {
    pub(super) settings: RemoteSettings,
    /// The proofs for the next connection, where they are others than `settings` began with.
    proofs: Mutex<(Endpoint, Login)>,
    renewed: AtomicBool,
    memory: Memory,
    pub(super) places: Places,
    pub(super) scripts: Scripts,
    pub(super) bell: Bell,
    condition: watch::Sender<Condition>,
    wire: Mutex<Option<Arc<Wire>>>,
    epoch: AtomicU64,
    connections: AtomicU64,
    heard: Mutex<Heard>,
    asking: Semaphore,
    others: Semaphore,
    /// Asks the task to look after the connection now.
    look: Notify,
    suspect: AtomicU32,
    forged: AtomicU64,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A script with its keys and arguments; the meta key and the epoch come first by themselves.
pub(super) struct Call<'a> {
    pub(super) script: &'a Script,
    pub(super) keys: &'a [&'a [u8]],
    pub(super) args: Vec<Vec<u8>>,
}

impl Link {
    pub(super) fn new(settings: RemoteSettings, memory: Memory) -> Self {
        Self {
            places: Places::new(&settings.environment, settings.gateway),
            scripts: Scripts::new(),
            bell: Bell::new(),
            condition: watch::Sender::new(Condition::Faulty(StoreFault::Unreachable)),
            wire: Mutex::new(None),
            epoch: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            memory,
            heard: Mutex::new(Heard { peers: Peers::default(), since: Instant::now() }),
            asking: Semaphore::new(ASKING_MAX),
            others: Semaphore::new(OTHERS_MAX),
            look: Notify::new(),
            suspect: AtomicU32::new(0),
            forged: AtomicU64::new(0),
            proofs: Mutex::new((settings.endpoint.clone(), settings.login.clone())),
            renewed: AtomicBool::new(false),
            settings,
        }
    }

    /// From now on both sides prove themselves by these. The connection goes on until one under them
    /// has taken its place.
    pub(super) fn renew(&self, endpoint: Endpoint, login: Login) {
        *self.proofs.lock() = (endpoint, login);
        self.renewed.store(true, Ordering::Release);
        self.look.notify_one();
    }

    pub(super) fn condition(&self) -> watch::Receiver<Condition> {
        self.condition.subscribe()
    }

    pub(super) fn peers(&self) -> Peers {
        self.heard.lock().peers
    }

    /// The epoch of the server as it was last known; zero before the first connection.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    pub(super) fn is_connected(&self) -> bool {
        self.wire.lock().is_some()
    }

    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Acquire)
    }

    /// So many records were found that no gateway wrote.
    pub(super) fn suspect(&self, found: usize) {
        self.forged.fetch_add(u64::try_from(found).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.condition.send_modify(|is| {
            self.suspect.store(SUSPECT_BEATS, Ordering::Relaxed);
            *is = Condition::Faulty(StoreFault::Forged);
        });
    }

    pub(super) fn forged(&self) -> u64 {
        self.forged.load(Ordering::Relaxed)
    }

    /// Runs a script and reads its answer with `read`, which says `None` to nonsense.
    pub(super) async fn call<T>(
        &self,
        call: Call<'_>,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Result<T, StoreFault> {
        self.seated(&self.others, call, read).await
    }

    /// The same, for units.
    pub(super) async fn ask<T>(
        &self,
        call: Call<'_>,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Result<T, StoreFault> {
        self.seated(&self.asking, call, read).await
    }

    async fn seated<T>(
        &self,
        seats: &Semaphore,
        call: Call<'_>,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Result<T, StoreFault> {
        let wire = self.wire.lock().clone().ok_or_else(|| match *self.condition.borrow() {
            Condition::Faulty(fault) => fault,
            Condition::Sound => StoreFault::Unreachable,
        })?;
        // In a moment of many calls there is a seat soon.
        let outcome = match timeout(self.settings.time_out, seats.acquire()).await {
            Ok(Ok(_seat)) => self.call_on(&wire, &epoch_text(self.epoch()), call, read).await,
            _ => Err(StoreFault::Busy),
        };
        if outcome.as_ref().is_err_and(|fault| fault.is_of_store()) {
            self.look.notify_one();
        }
        outcome
    }

    async fn call_on<T>(
        &self,
        wire: &Wire,
        epoch: &str,
        call: Call<'_>,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Result<T, StoreFault> {
        let mut invocation = call.script.prepare_invoke();
        invocation.key(&self.places.meta);
        for key in call.keys {
            invocation.key(*key);
        }
        invocation.arg(epoch);
        for arg in &call.args {
            invocation.arg(&arg[..]);
        }
        let mut connection = wire.connection.clone();
        let answer = timeout(self.settings.time_out, invocation.invoke_async(&mut connection))
            .await
            .map_err(|_elapsed| StoreFault::TimedOut)?
            .map_err(|error| wire.budget.fault(answer::fault(&error)))?;
        let read = read(answer).ok_or(StoreFault::Nonsense)?;
        wire.budget.renew();
        Ok(read)
    }

    /// Connects, keeps the connection alive, and begins again when it is lost. Never ends.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut back_off = BACK_OFF_MIN;
        loop {
            let fault = match self.connect().await {
                Ok(wire) => {
                    let wire = Arc::new(wire);
                    match self.settle_in(&wire).await {
                        Ok(()) => {
                            back_off = BACK_OFF_MIN;
                            self.stay(wire).await
                        }
                        Err(fault) => fault,
                    }
                }
                Err(fault) => fault,
            };
            *self.wire.lock() = None;
            self.condition.send_replace(Condition::Faulty(fault));
            tokio::time::sleep(jittered(back_off)).await;
            back_off = back_off.saturating_mul(2).min(BACK_OFF_MAX);
        }
    }

    async fn connect(&self) -> Result<Wire, StoreFault> {
        self.renewed.store(false, Ordering::Release);
        let within = self.settings.time_out.saturating_mul(4);
        timeout(within, self.connect_untimed()).await.unwrap_or(Err(StoreFault::TimedOut))
    }

    async fn connect_untimed(&self) -> Result<Wire, StoreFault> {
        let (endpoint, login) = self.proofs.lock().clone();
        let tcp = TcpStream::connect((endpoint.host.as_str(), endpoint.port))
            .await
            .map_err(|_unreachable| StoreFault::Unreachable)?;
        tcp.set_nodelay(true).map_err(|_closed| StoreFault::Unreachable)?;
        let tls = TlsConnector::from(Arc::clone(&endpoint.tls))
            .connect(endpoint.name.clone(), tcp)
            .await
            .map_err(|error| match error.get_ref() {
                Some(inner) if inner.is::<rustls::Error>() => StoreFault::Untrusted,
                _ => StoreFault::Unreachable,
            })?;
        let budget = Budget::new();
        let stream = Guarded::new(tls, Arc::clone(&budget));
        let info = RedisConnectionInfo::default()
            .set_username(&login.user)
            .set_password(login.password.reveal_for(Use::Forward))
            .set_protocol(ProtocolVersion::RESP3)
            .set_skip_set_lib_name();
        let bell = self.bell.clone();
        let on_push = move |push: PushInfo| {
            if push.kind == PushKind::Message {
                bell.ring();
            }
            Ok::<(), ()>(())
        };
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(self.settings.time_out))
            .set_pipeline_buffer_size(ASKING_MAX + OTHERS_MAX)
            .set_push_sender(on_push);
        let setup = MultiplexedConnection::new_with_config(&info, stream, config);
        let (connection, driver) =
            setup.await.map_err(|error| budget.fault(answer::fault(&error)))?;
        let driver = tokio::spawn(driver);
        Ok(Wire { connection, budget, driver })
    }

    /// Learns or makes the server's epoch, subscribes, and lets verbs in.
    async fn settle_in(&self, wire: &Arc<Wire>) -> Result<(), StoreFault> {
        self.found(wire).await?;
        let mut connection = wire.connection.clone();
        timeout(self.settings.time_out, connection.subscribe(&self.places.channel))
            .await
            .map_err(|_elapsed| StoreFault::TimedOut)?
            .map_err(|error| wire.budget.fault(answer::fault(&error)))?;
        self.beat(wire).await?;
        self.connections.fetch_add(1, Ordering::AcqRel);
        *self.wire.lock() = Some(Arc::clone(wire));
        Ok(())
    }

    async fn found(&self, wire: &Wire) -> Result<(), StoreFault> {
        let mut random = [0; 8];
        aws_lc_rs::rand::fill(&mut random).map_err(|_unspecified| StoreFault::Refused)?;
        let fresh = u64::from_be_bytes(random).max(1);
        // What this gateway knew before, in this run or an earlier one.
        let known = match self.epoch() {
            0 => self.memory.known_epoch,
            epoch => epoch,
        };
        let known = if known == 0 { String::new() } else { epoch_text(known) };
        let call = Call {
            script: &self.scripts.found,
            keys: &[],
            args: vec![
                SCHEMA.to_string().into_bytes(),
                epoch_text(fresh).into_bytes(),
                known.into_bytes(),
            ],
        };
        let (schema, epoch) = self.call_on(wire, "", call, answer::founded).await?;
        if schema > SCHEMA {
            return Err(StoreFault::Newer);
        }
        self.epoch.store(epoch, Ordering::Release);
        self.heard.lock().since = Instant::now();
        Ok(())
    }

    async fn beat(&self, wire: &Wire) -> Result<(), StoreFault> {
        let settings = &self.settings;
        let call = Call {
            script: &self.scripts.beat,
            keys: &[self.places.members.as_bytes(), self.places.plate.as_bytes()],
            args: vec![
                settings.gateway.0.to_string().into_bytes(),
                epoch_text(self.memory.instance).into_bytes(),
                MEMBER_FOR.as_micros().to_string().into_bytes(),
            ],
        };
        let gateway = settings.gateway;
        let epoch = epoch_text(self.epoch());
        let peers = self.call_on(wire, &epoch, call, |value| answer::peers(value, gateway)).await?;
        self.heard.lock().hear(peers);
        Ok(())
    }

    /// Beats until something fails; tells what did.
    async fn stay(&self, mut wire: Arc<Wire>) -> StoreFault {
        loop {
            if self.renewed.load(Ordering::Acquire) {
                wire = match self.connect().await {
                    Ok(next) => Arc::new(next),
                    Err(fault) => return fault,
                };
                if let Err(fault) = self.settle_in(&wire).await {
                    return fault;
                }
            }
            // In one step, or a record that is found meanwhile would be forgotten.
            self.condition.send_if_modified(|was| {
                let suspect = self.suspect.load(Ordering::Relaxed);
                self.suspect.store(suspect.saturating_sub(1), Ordering::Relaxed);
                let condition = match suspect {
                    0 => Condition::Sound,
                    _ => Condition::Faulty(StoreFault::Forged),
                };
                std::mem::replace(was, condition) != condition
            });
            // The safety net for rings that were lost.
            self.bell.ring();
            let _early = timeout(self.settings.poll, self.look.notified()).await;
            if wire.driver.is_finished() {
                return wire.budget.fault(StoreFault::Unreachable);
            }
            let beaten = match self.beat(&wire).await {
                Err(StoreFault::Forgot) => {
                    self.condition.send_replace(Condition::Faulty(StoreFault::Forgot));
                    match self.found(&wire).await {
                        Ok(()) => self.beat(&wire).await,
                        Err(fault) => Err(fault),
                    }
                }
                beaten => beaten,
            };
            match beaten {
                // A full house is no reason to tear it down.
                Ok(()) | Err(StoreFault::Busy) => {}
                Err(fault) => return fault,
            }
        }
    }

    /// Tells the others that this gateway goes. They learn it by its silence otherwise.
    pub(super) async fn leave(&self) -> Result<(), StoreFault> {
        let settings = &self.settings;
        let call = Call {
            script: &self.scripts.leave,
            keys: &[self.places.members.as_bytes(), self.places.plate.as_bytes()],
            args: vec![
                settings.gateway.0.to_string().into_bytes(),
                epoch_text(self.memory.instance).into_bytes(),
            ],
        };
        self.call(call, |_| Some(())).await
    }
}

fn epoch_text(epoch: u64) -> String {
    format!("{epoch:016x}")
}

/// Between half of it and all of it, so that gateways do not come back all at once.
fn jittered(most: Duration) -> Duration {
    let mut random = [0; 1];
    // Without randomness they come back together, which is no harm to any control.
    let _even = aws_lc_rs::rand::fill(&mut random);
    let [part] = random;
    most.mul_f64(0.5 + f64::from(part) / 512.0)
}
