//! Against a real TLS server on loopback that misbehaves on demand.
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::*;
use crate::base::{Clock, Denial, ManualClock, TokenFault};
use crate::https::{self, Roots, Site};
use crate::identity::support::{ISS, NOW, Signer, World, at, claims, jwks, name, spec, with_token};
use crate::identity::{Algorithm, Binding, KeySet, KeySetFault, Presented, prove};

const HOST: &str = "keys.example.com";
const COOLDOWN: Duration = Duration::from_secs(30);
const REFRESH: Duration = Duration::from_secs(600);

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca() -> Ca {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// One authority for all tests, so that what fails does not fail for want of trust.
static CA: LazyLock<Ca> = LazyLock::new(ca);

#[derive(Clone)]
enum Answer {
    Keys(Vec<u8>),
    Status(&'static str),
    /// Announces this many bytes and sends them as long as somebody reads.
    Body(usize),
    /// A chunked body without end.
    Endless,
    Raw(&'static [u8]),
    /// Reads the request and says nothing.
    Silence,
}

struct Server {
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
    url: JwksUrl,
    task: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start(answer: Answer) -> Self {
        Self::start_as(answer, HOST, &[&rustls::version::TLS13]).await
    }

    async fn start_as(
        answer: Answer,
        host: &str,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &*CA).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::from(key))
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (answer, asked) = (Arc::new(Mutex::new(answer)), Arc::new(AtomicUsize::new(0)));
        let serving = serve(listener, acceptor, Arc::clone(&answer), Arc::clone(&asked));
        let task = tokio::spawn(serving).abort_handle();
        let url = JwksUrl {
            site: Site {
                server_name: ServerName::try_from(HOST).unwrap(),
                authority: format!("{HOST}:{}", address.port()),
                host: HOST.to_owned(),
                port: address.port(),
                addresses: vec![address],
            },
            path: "/jwks?v=1".to_owned(),
            roots: Roots::Private(vec![CertificateDer::clone(CA.der())]),
        };
        Self { answer, asked, url, task }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
) {
    let mut connections = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        let (acceptor, answer, asked) = (acceptor.clone(), Arc::clone(&answer), Arc::clone(&asked));
        connections.spawn(async move {
            let Ok(mut tls) = acceptor.accept(tcp).await else { return };
            if read_head(&mut tls).await {
                asked.fetch_add(1, Ordering::SeqCst);
                let answer = answer.lock().clone();
                respond(&mut tls, answer).await;
            }
        });
    }
}

/// Checks the request and says whether it was the expected one.
async fn read_head(tls: &mut TlsStream<TcpStream>) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if tls.read_exact(&mut byte).await.is_err() {
            return false;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    head.starts_with("get /jwks?v=1 http/1.1\r\n") && head.contains("host: keys.example.com:")
}

/// Errors mean that the client went away, which some tests are about.
async fn respond(tls: &mut TlsStream<TcpStream>, answer: Answer) {
    let head = |length: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
    let block = vec![b' '; 64 * 1024];
    match answer {
        Answer::Keys(keys) => {
            drop(tls.write_all(&[head(keys.len()).as_bytes(), &keys].concat()).await);
        }
        Answer::Status(line) => {
            let text = format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n");
            drop(tls.write_all(text.as_bytes()).await);
        }
        Answer::Body(mut left) => {
            drop(tls.write_all(head(left).as_bytes()).await);
            while left > 0 && tls.write_all(&block[..left.min(block.len())]).await.is_ok() {
                left -= left.min(block.len());
            }
        }
        Answer::Endless => {
            drop(tls.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await);
            let chunk = [b"10000\r\n".as_slice(), &block, b"\r\n"].concat();
            while tls.write_all(&chunk).await.is_ok() {}
        }
        Answer::Raw(bytes) => drop(tls.write_all(bytes).await),
        Answer::Silence => std::future::pending().await,
    }
    drop(tls.shutdown().await);
}

/// Only the tests that are about time-outs have short ones.
fn calm() -> Patience {
    Patience { fetch: Duration::from_secs(60), request: Duration::from_secs(60) }
}

fn issuer(source: JwksSource) -> IssuerKeys {
    let (cooldown, refresh) = (COOLDOWN, REFRESH);
    IssuerKeys { name: name("corp"), iss: ISS.into(), source, cooldown, refresh }
}

fn url(server: &Server) -> IssuerKeys {
    issuer(JwksSource::Url(Box::new(server.url.clone())))
}

fn store(issuer: IssuerKeys, patience: Patience) -> (JwksStore, Arc<ManualClock>) {
    let (clock, hand) = Clock::manual(NOW * 1_000);
    let store = JwksStore::new(clock, patience);
    store.adopt(store.prepare(vec![issuer]).unwrap());
    (store, hand)
}

fn keys(signers: &[&Signer]) -> Vec<u8> {
    jwks(&signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>())
}

fn status(store: &JwksStore) -> IssuerStatus {
    store.status().remove(0)
}

/// The fault of one fetch against a server, which must leave good keys of before in place.
async fn fault(server: &Server) -> Option<JwksFault> {
    let signer = Signer::new(Algorithm::EdDsa, "k1");
    let bad = std::mem::replace(&mut *server.answer.lock(), Answer::Keys(keys(&[&signer])));
    let (store, hand) = store(url(server), calm());
    store.refresh_due().await;
    assert_eq!((status(&store).keys, status(&store).fault), (1, None));
    *server.answer.lock() = bad;
    hand.advance(REFRESH);
    store.refresh_due().await;
    assert_eq!(status(&store).keys, 1, "the last good keys are lent on");
    assert_eq!(status(&store).age_secs, Some(REFRESH.as_secs()));
    status(&store).fault
}

#[tokio::test]
async fn acc_1_keys_are_fetched_when_due_and_not_before() {
    let signer = Signer::new(Algorithm::EdDsa, "k1");
    let server = Server::start(Answer::Keys(keys(&[&signer]))).await;
    let (store, hand) = store(url(&server), calm());
    assert_eq!(status(&store).age_secs, None);
    store.refresh_due().await;
    store.refresh_due().await;
    assert_eq!((server.asked(), status(&store).keys), (1, 1));
    hand.advance(Duration::from_secs(599));
    store.refresh_due().await;
    assert_eq!((server.asked(), status(&store).age_secs), (1, Some(599)));
    hand.advance(Duration::from_secs(1));
    store.refresh_due().await;
    assert_eq!((server.asked(), status(&store).age_secs), (2, Some(0)));
    assert_eq!(store.counters().fetches_ok.load(Ordering::Relaxed), 2);
    assert_eq!(store.counters().fetches_failed.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn acc_1_bad_answers_leave_the_last_good_keys() {
    let server = Server::start(Answer::Silence).await;
    for (answer, expected) in [
        (Answer::Status("302 Found\r\nlocation: /jwks"), JwksFault::Status),
        (Answer::Status("204 No Content"), JwksFault::Status),
        (Answer::Status("500 Oops"), JwksFault::Status),
        (Answer::Body(1 << 30), JwksFault::TooLarge),
        (Answer::Body(KeySet::BYTES_MAX + 1), JwksFault::TooLarge),
        (Answer::Endless, JwksFault::TooLarge),
        (Answer::Body(KeySet::BYTES_MAX), JwksFault::Keys(KeySetFault::Form)),
        (Answer::Keys(b"{\"keys\":[]}".to_vec()), JwksFault::Keys(KeySetFault::NoKey)),
        (Answer::Raw(b"220 mail.example.com ESMTP\r\n"), JwksFault::Malformed),
        (Answer::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}"), JwksFault::Malformed),
        (Answer::Raw(b""), JwksFault::Malformed),
    ] {
        *server.answer.lock() = answer;
        assert_eq!(fault(&server).await, Some(expected));
    }
}

#[tokio::test]
async fn tls_2_a_server_that_does_not_prove_its_name_is_not_asked() {
    let good = Answer::Keys(keys(&[&Signer::new(Algorithm::EdDsa, "k1")]));
    let tls13: &[_] = &[&rustls::version::TLS13];
    let wrong_name = Server::start_as(good.clone(), "other.example.com", tls13).await;
    let old = Server::start_as(good.clone(), HOST, &[&rustls::version::TLS12]).await;
    let mut wrong_ca = Server::start(good).await;
    wrong_ca.url.roots = Roots::Private(vec![CertificateDer::clone(ca().der())]);
    for server in [wrong_name, old, wrong_ca] {
        let (store, _) = store(url(&server), calm());
        store.refresh_due().await;
        assert_eq!(status(&store).fault, Some(JwksFault::Untrusted));
        assert_eq!((status(&store).keys, server.asked()), (0, 0));
    }
}

#[tokio::test]
async fn acc_1_a_server_that_is_down_is_asked_again_after_the_cooldown() {
    let signer = Signer::new(Algorithm::EdDsa, "k1");
    let server = Server::start(Answer::Keys(keys(&[&signer]))).await;
    let mut down = url(&server);
    // Nobody listens there, and nobody else gets it.
    let kept = TcpSocket::new_v4().unwrap();
    kept.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let JwksSource::Url(to) = &mut down.source else { panic!("a URL") };
    to.site.addresses = vec![kept.local_addr().unwrap()];
    let (store, hand) = store(down, calm());
    store.refresh_due().await;
    assert_eq!(status(&store).fault, Some(JwksFault::Unreachable));
    hand.advance(Duration::from_secs(29));
    store.refresh_due().await;
    assert_eq!(store.counters().fetches_failed.load(Ordering::Relaxed), 1);
    hand.advance(Duration::from_secs(1));
    store.refresh_due().await;
    assert_eq!(store.counters().fetches_failed.load(Ordering::Relaxed), 2);
    // The operator corrects the address: the new place is asked at once.
    store.adopt(store.prepare(vec![url(&server)]).unwrap());
    store.refresh_due().await;
    assert_eq!((status(&store).keys, status(&store).fault), (1, None));
}

#[tokio::test]
async fn acc_1_keys_are_handed_on_with_their_age_to_where_they_are_fetched_from_the_same_place() {
    let signer = Signer::new(Algorithm::EdDsa, "k1");
    let server = Server::start(Answer::Keys(keys(&[&signer]))).await;
    let (first, hand) = store(url(&server), calm());
    assert_eq!(first.hand_over(), []);
    first.refresh_due().await;
    hand.advance(Duration::from_secs(90));
    *server.answer.lock() = Answer::Status("500 Oops");
    let handed = first.hand_over();
    let (second, hand) = store(url(&server), calm());
    assert_eq!(second.lacks(&handed), Some((name("corp"), None)));
    second.take(&handed);
    assert_eq!(second.lacks(&handed), None);
    hand.advance(Duration::from_secs(9));
    second.refresh_due().await;
    assert_eq!(status(&second).fault, Some(JwksFault::Status), "it asks by itself");
    assert_eq!((status(&second).keys, status(&second).age_secs), (1, Some(99)));
    assert_eq!(second.hand_over()[0].text, handed[0].text);
    assert_eq!(second.hand_over()[0].age, Duration::from_secs(99));

    // Others vouch for the server, or it is another one: what was handed over is not for it.
    for edit in [
        (|url| url.roots = Roots::System) as fn(&mut JwksUrl),
        |url| url.path = "/jwks?v=2".to_owned(),
        |url| url.site.port += 1,
    ] {
        let mut other = url(&server);
        if let JwksSource::Url(url) = &mut other.source {
            edit(url);
        }
        let (third, _hand) = store(other, calm());
        third.take(&handed);
        assert_eq!(third.lacks(&handed), Some((name("corp"), None)));
    }
}

#[tokio::test]
async fn acc_1_a_silent_server_costs_a_bounded_time() {
    let server = Server::start(Answer::Silence).await;
    let short = Duration::from_millis(50);
    let (impatient, _) = store(url(&server), Patience { fetch: short, request: short });
    impatient.refresh_due().await;
    assert_eq!(status(&impatient).fault, Some(JwksFault::TimedOut));
    // A request gives up before the fetch does, and the fetch goes on without it.
    let long = Patience { fetch: Duration::from_secs(600), request: short };
    let (store, _) = store(url(&server), long);
    store.refetch(ISS).await;
    assert_eq!(status(&store).fault, None);
    assert_eq!(store.counters().fetches_failed.load(Ordering::Relaxed), 0);
}

/// Fifty callers with a token of the new key, then fifty of an attacker with made-up keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn acc_1_a_rotation_under_load_causes_exactly_one_fetch() {
    let (old, new) = (Signer::new(Algorithm::Es256, "k1"), Signer::new(Algorithm::Es256, "k2"));
    let server = Server::start(Answer::Keys(keys(&[&old]))).await;
    let (store, hand) = store(url(&server), calm());
    store.refresh_due().await;
    *server.answer.lock() = Answer::Keys(keys(&[&old, &new]));

    let world = Arc::new(World::new(spec(vec![with_token("printer", Binding::Bearer)])));
    let token = Arc::new(new.sign(&claims("printer")));
    let mut callers = JoinSet::new();
    for _ in 0..50 {
        let (store, world, token) = (store.clone(), Arc::clone(&world), Arc::clone(&token));
        callers.spawn(async move {
            let ask = |keys: &crate::identity::KeySets| {
                let token = Presented::Bearer(&token);
                prove(None, token, &world.trust, keys, &world.cache, at(NOW))
            };
            match ask(&store.current()) {
                Ok(_) => true,
                Err(refusal) => {
                    assert_eq!(refusal.denial, Denial::Token(TokenFault::UnknownKey));
                    let iss = world.trust.iss(refusal.retry.unwrap()).unwrap();
                    ask(&*store.refetch(iss).await).is_ok()
                }
            }
        });
    }
    assert!(callers.join_all().await.into_iter().all(|proved| proved));
    assert_eq!(server.asked(), 2, "one at the start, one for all of them");

    for _ in 0..50 {
        store.refetch(ISS).await;
    }
    assert_eq!(server.asked(), 2);
    assert!(store.counters().refetches_suppressed.load(Ordering::Relaxed) >= 50);
    hand.advance(COOLDOWN);
    store.refetch(ISS).await;
    assert_eq!(server.asked(), 3);
    store.refetch("https://nobody.example/").await;
    assert_eq!(server.asked(), 3);
}

#[tokio::test]
async fn acc_1_a_fetch_outlives_the_request_that_caused_it() {
    let signer = Signer::new(Algorithm::EdDsa, "k1");
    let server = Server::start(Answer::Keys(keys(&[&signer]))).await;
    let (store, _) = store(url(&server), calm());
    {
        let refetch = store.refetch(ISS);
        tokio::pin!(refetch);
        // Polled once, then dropped, as when the client goes away.
        let polled = std::future::poll_fn(|context| {
            std::task::Poll::Ready(refetch.as_mut().poll(context).is_pending())
        });
        assert!(polled.await);
    }
    // Joins the fetch that is under way; there is no second one.
    store.refetch(ISS).await;
    assert_eq!((server.asked(), status(&store).keys), (1, 1));
}

#[tokio::test]
async fn acc_3_a_reload_keeps_keys_of_the_same_place_only() {
    let signer = Signer::new(Algorithm::EdDsa, "k1");
    let server = Server::start(Answer::Keys(keys(&[&signer]))).await;
    let (store, _) = store(url(&server), calm());
    store.refresh_due().await;
    store.adopt(store.prepare(vec![url(&server)]).unwrap());
    assert_eq!(status(&store).keys, 1);
    let mut moved = url(&server);
    if let JwksSource::Url(url) = &mut moved.source {
        url.path = "/elsewhere".to_owned();
    }
    store.adopt(store.prepare(vec![moved]).unwrap());
    assert_eq!(status(&store).keys, 0);
    store.adopt(store.prepare(Vec::new()).unwrap());
    assert!(store.status().is_empty());
}

#[tokio::test]
async fn acc_3_a_key_that_goes_while_a_reload_is_built_does_not_come_back() {
    let (gone, stays) = (Signer::new(Algorithm::EdDsa, "k1"), Signer::new(Algorithm::EdDsa, "k2"));
    let (both, one) = (keys(&[&gone, &stays]), keys(&[&stays]));
    let server = Server::start(Answer::Keys(both.clone())).await;
    let path = std::env::temp_dir().join(format!("sekisho-gone-{}.jwks", std::process::id()));
    std::fs::write(&path, &both).unwrap();
    for issuer in [url(&server), issuer(JwksSource::File(path.clone()))] {
        let (store, hand) = store(issuer.clone(), calm());
        store.refresh_due().await;
        let prepared = store.prepare(vec![issuer.clone()]).unwrap();
        *server.answer.lock() = Answer::Keys(one.clone());
        std::fs::write(&path, &one).unwrap();
        hand.advance(REFRESH);
        store.refresh_due().await;
        assert_eq!(status(&store).keys, 1);
        store.adopt(prepared);
        assert_eq!((status(&store).keys, status(&store).age_secs), (1, Some(0)));
        // What is read later is newer.
        hand.advance(COOLDOWN);
        *server.answer.lock() = Answer::Keys(both.clone());
        std::fs::write(&path, &both).unwrap();
        store.adopt(store.prepare(vec![issuer]).unwrap());
        store.refresh_due().await;
        assert_eq!(status(&store).keys, 2);
    }
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn acc_1_key_files_are_checked_before_they_are_in_force_and_read_again() {
    let directory = std::env::temp_dir().join(format!("sekisho-keys-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("corp.jwks");
    let (first, second) =
        (Signer::new(Algorithm::EdDsa, "k1"), Signer::new(Algorithm::EdDsa, "k2"));
    std::fs::write(&path, keys(&[&first])).unwrap();
    let file = || issuer(JwksSource::File(path.clone()));
    let (store, hand) = store(file(), calm());
    assert_eq!(status(&store).keys, 1);

    std::fs::write(&path, keys(&[&first, &second])).unwrap();
    store.refetch(ISS).await;
    assert_eq!(status(&store).keys, 2);

    std::fs::write(&path, "{}").unwrap();
    hand.advance(REFRESH);
    store.refresh_due().await;
    assert_eq!(status(&store).keys, 2, "a file that was broken later changes nothing");
    assert_eq!(status(&store).fault, Some(JwksFault::Keys(KeySetFault::Form)));

    // Nor does one hold up another configuration, whatever else that changes.
    let fault = JwksFault::Keys(KeySetFault::Form);
    let renamed = IssuerKeys { iss: Arc::from("https://other.test"), ..file() };
    for issuer in [file(), renamed, file()] {
        store.adopt(store.prepare(vec![issuer]).unwrap());
        let IssuerStatus { keys, age_secs, fault: seen, .. } = status(&store);
        assert_eq!((keys, age_secs, seen), (2, Some(REFRESH.as_secs()), Some(fault)));
    }
    // Where nothing was read of it there is nothing to go on with.
    let other = JwksStore::new(Clock::manual(NOW * 1_000).0, calm());
    assert_eq!(other.prepare(vec![file()]).unwrap_err(), [(name("corp"), fault)]);
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(other.prepare(vec![file()]).unwrap_err(), [(name("corp"), JwksFault::File)]);
}

#[test]
fn tls_2_without_a_root_certificate_nothing_is_fetched() {
    let refused = https::connector(&Roots::Private(Vec::new())).err();
    assert_eq!(refused.map(JwksFault::from), Some(JwksFault::Roots));
    let broken = CertificateDer::from(vec![0x30, 0x00]);
    let refused = https::connector(&Roots::Private(vec![broken])).err();
    assert_eq!(refused.map(JwksFault::from), Some(JwksFault::Roots));
}
