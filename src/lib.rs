//! Sekisho (関所): a checkpoint for personal data between a seller's applications, Amazon's Selling
//! Partner API and the seller's own stores. This page is the architecture.
//!
//! # One request
//!
//! ```text
//! TCP ─► listen::accept   address on the list? PROXY header? TLS, client certificate      NET-1 NET-3 TLS-1
//!                         (no TLS without the host's permit, which opened the listener's keys  TLS-3)
//!        listen::pass     …or passed on unread, by server name, to where TLS ends         TLS-3
//!     ─► listen::conn     every byte in passes a guard, every read has a deadline         MON-5
//!     ─► gateway::request THE order of the checks, top-down:
//!           facts             read one way or refused                                     MON-5
//!           engine.prove      certificate, token, or token bound to certificate           ACC-1 PRIV-5
//!           engine.admit_…    locked, waiting, slowed down, closed to everybody           ACC-2 ACC-5
//!           policy::decide    operation, network, grant, query: pure, no allocation       PRIV-1 NET-1
//!           engine.settle     a place in the log, then the quotas: a Clearance            LOG-1
//!     ─► gateway::pace    its turn at Amazon, or at once how long to stay away             MON-2
//!     ─► gateway::forward headers cleaned, upstream verified, retried only where safe      TLS-2
//!        gateway::socket  the same for a WebSocket, which then is bytes both ways          MON-5
//!     ─► gateway::body    what the answer reveals is counted, and charged, as it passes   MON-3
//!        gateway::guard   planted records searched, locks felt, byte by byte              MON-4 ACC-2
//!     ─► gateway::finish  one access record, whatever happened; the detectors' turn       LOG-1 MON-1…8
//! ```
//!
//! # One alarm
//!
//! ```text
//! anybody  ─► engine.alarms.raise  never waits; what is the same is gathered              MON-7
//! events   ─► engine.report_event  those that people must know of become alarms           MON-8
//!          ─► deliver              the store's queue, on disk; one task and place for each target
//!          ─► people               webhook, Alertmanager, syslog, journald, a program     TLS-2 LOG-2
//! ```
//!
//! # One permit
//!
//! ```text
//! host     ─► permit host     its key, made once; its request, no secret                  TLS-3
//! platform ─► permit issue    signed offline: this host, these listeners, names, 90 days  TLS-3 PRIV-5
//! config   ─► permit::verify  signature, then text, then host, environment and time: a HostPermit
//!          ─► seal::open      the listener's key, by config::TlsKey::open, which takes the HostPermit
//! engine   ─► may_end_tls     each connection: two numbers; told 14, 7 and 1 days ahead   MON-7
//! ```
//!
//! # One act of an operator
//!
//! ```text
//! operator ─► admin::api      address, TLS 1.3 and certificate, role by the table of routes  PRIV-3
//!          ─► engine.lock     in force at once, written down, told to the other gateways  ACC-2 ACC-5
//!          ─► engine.report_event  who, what, why, and how it ended                        LOG-1
//! ```
//!
//! # One change of the configuration
//!
//! ```text
//! file, SIGHUP, operator ─► engine.reload_files   one at a time, read and built aside       LOG-1
//!          ─► config::diff        who gains or loses what; what widens is an officer's      PRIV-3
//!          ─► swapped whole       requests under way keep the one they began with          PRIV-1
//!          ─► trial               if more fails than before, the one before is put back,
//!                                 and never what a change took away                         LOG-1
//! ```
//!
//! # Rooms, in layers; arrows only go down
//!
//! | layer | rooms | may |
//! |---|---|---|
//! | words | [`base`] | read the clock, in one file |
//! | pure | [`alarm`], [`detect`], [`evidence`], [`exposure`], [`identity`], [`lockout`], [`pacing`], [`permit`], [`policy`], [`seal`], [`trial`] | compute; no I/O, no time but what is passed in |
//! | configuration | [`config`] | compile text into the pure rooms' types |
//! | one exchange | [`https`] | ask a server whose name is proved, for the shells above |
//! | shells | [`answer`], [`state`], [`store`], [`keys`], [`observe`], [`upstream`], [`engine`] | do I/O, decide nothing; they meet in `engine` |
//! | edges | [`listen`], [`gateway`], [`admin`], [`deliver`] | speak a protocol; none knows another |
//! | program | [`cli`], [`mock`], [`devcerts`] | wire it all; `cli::run` alone |
//!
//! Another binary takes a process' place in `cli::upgrade`, with its sockets and all that it remembers.
//!
//! What outlives a restart, and what several gateways share, is kept by [`store`]; requests don't wait
//! for it, but for a unit of a shared quota of which a gateway has none.
//!
//! # Invariants and absences
//!
//! 1. Deny is every default; an empty list allows nobody; no switch turns a control off.
//! 2. Nothing goes upstream without a [`engine::Clearance`], which only [`engine::Engine::settle`] makes.
//! 3. Log, metrics and answers take only [`evidence::Loggable`] values: text of a request is a type error.
//! 4. A request is judged by one [`config::Snapshot`] from start to end; one that comes in force meanwhile
//!    lets nothing through, but ends what it does not grant.
//! 5. No private key of a listener is opened without a [`permit::HostPermit`], which only
//!    [`permit::verify`] makes.
//! 6. There is no plaintext data listener, no unverified upstream, no cache, no body rewriting (yet:
//!    masking by role enters at `gateway::hooks`' body filter), no unsafe code.
//! 7. `policy` never sees a socket; `listen` never sees an operation; Pingora never sees an address.
pub mod base;

pub mod alarm;
pub mod detect;
pub mod evidence;
pub mod exposure;
pub mod identity;
pub mod lockout;
pub mod pacing;
pub mod permit;
pub mod policy;
pub mod seal;
pub mod trial;

pub mod config;
pub mod https;

pub mod answer;
pub mod engine;
pub mod keys;
pub mod observe;
pub mod state;
pub mod store;
pub mod upstream;

pub mod admin;
pub mod deliver;
pub mod gateway;
pub mod listen;

pub mod cli;
pub mod devcerts;
pub mod mock;
