//! One call to the API on one connection: HTTPS with the operator's certificate.
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::args::ApiArgs;
use crate::admin::api::Paged;
use crate::cli::say::Failure;
use crate::engine::provider;

const CALL_MAX: Duration = Duration::from_secs(30);
const ANSWER_MAX: usize = 8 << 20;
/// Entries that are listed at most.
const LISTED_MAX: usize = 100_000;

/// Why a call brought nothing.
#[derive(Debug)]
pub(super) enum Refused {
    /// The gateway's own words.
    Problem(Value),
    Failed(Failure),
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

pub(super) struct Client {
    tls: TlsConnector,
    name: ServerName<'static>,
    host: String,
    port: u16,
    authority: String,
    url: String,
}

impl Client {
    /// Reads the files and the address; connects to nobody yet.
    pub(super) fn open(words: &ApiArgs) -> Result<Self, Failure> {
        let url = words.api.trim_end_matches('/').to_owned();
        let unusable = || Failure::new(format_args!("--api {url} is no https://HOST:PORT"));
        let uri: Uri = url.parse().map_err(|_| unusable())?;
        let authority = uri.authority().ok_or_else(unusable)?;
        if uri.scheme_str() != Some("https") || !["", "/"].contains(&uri.path()) {
            return Err(unusable());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| unusable())?;
        let port = authority.port_u16().unwrap_or(443);
        let mut roots = RootCertStore::empty();
        for root in certificates(&words.ca)? {
            roots.add(root).map_err(|error| broken(&words.ca, error))?;
        }
        let key = PrivateKeyDer::from_pem_file(&words.key);
        let key = key.map_err(|error| broken(&words.key, error))?;
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(Failure::new)?
            .with_root_certificates(roots)
            .with_client_auth_cert(certificates(&words.cert)?, key)
            .map_err(|error| broken(&words.cert, error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let authority = authority.as_str().to_owned();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), name, host, port, authority, url })
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Refused> {
        read(self.call(Method::GET, path, None).await?)
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Option<Value>,
    ) -> Result<T, Refused> {
        read(self.call(Method::POST, path, body).await?)
    }

    /// All pages of a list, one after the other.
    pub(super) async fn list<T: DeserializeOwned>(&self, path: &str) -> Result<Paged<T>, Refused> {
        let and = if path.contains('?') { '&' } else { '?' };
        let mut whole: Paged<T> = self.get(&format!("{path}{and}most=500")).await?;
        while let Some(from) = whole.next.filter(|_| whole.items.len() < LISTED_MAX) {
            let page: Paged<T> = self.get(&format!("{path}{and}from={from}&most=500")).await?;
            // A list that shrank meanwhile ends.
            whole.next = page.next.filter(|next| *next > from);
            whole.items.extend(page.items);
        }
        Ok(whole)
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Refused> {
        let call = self.exchange(method, path, body);
        let Ok(answer) = tokio::time::timeout(CALL_MAX, call).await else {
            let url = &self.url;
            return Err(Failure::new(format_args!("{url} did not answer within 30 s")).into());
        };
        let (status, document) = answer?;
        if (200..300).contains(&status) { Ok(document) } else { Err(Refused::Problem(document)) }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(u16, Value), Failure> {
        let url = &self.url;
        let gone = |error: &dyn std::fmt::Display| {
            Failure::new(format_args!("{url} ended the connection: {error}"))
        };
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|error| {
            Failure::new(format_args!(
                "{url} can't be reached: {error}; is it [admin.api] address?"
            ))
        })?;
        let stream = self.tls.connect(self.name.clone(), tcp).await.map_err(|error| {
            Failure::new(format_args!(
                "{url}: {error}; --ca must vouch for it, and its networks must list this machine"
            ))
        })?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| gone(&error))?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.authority)
            .header(ACCEPT, "application/json, application/problem+json");
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = request.body(Full::new(body)).map_err(Failure::new)?;
        let answer = async move {
            // TLS 1.3 tells a client only now that its certificate was refused.
            let response = sender.send_request(request).await.map_err(|error| gone(&error))?;
            let status = response.status().as_u16();
            Ok::<_, Failure>((status, whole(response.into_body()).await?))
        };
        tokio::pin!(answer, connection);
        let (status, text) = tokio::select! {
            biased;
            answer = &mut answer => answer,
            // The connection may be done while the answer still waits to be read from memory.
            _closed = &mut connection => answer.await,
        }?;
        let document = serde_json::from_slice(&text);
        Ok((status, document.map_err(|_| Failure::new(format_args!("{url} answers no JSON")))?))
    }
}

fn read<T: DeserializeOwned>(document: Value) -> Result<T, Refused> {
    serde_json::from_value(document).map_err(|error| {
        Failure::new(format_args!("the gateway is of another version: {error}")).into()
    })
}

async fn whole(mut body: Incoming) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(Failure::new)?;
        let Some(data) = frame.data_ref() else { continue };
        if text.len() + data.len() > ANSWER_MAX {
            return Err(Failure::new("the answer is longer than 8 MiB"));
        }
        text.extend_from_slice(data);
    }
    Ok(text)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let list = read.map_err(|error| broken(path, error))?;
    if list.is_empty() {
        return Err(Failure::new(format_args!("{} holds no certificate", path.display())));
    }
    Ok(list)
}

fn broken(path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::new(format_args!("{}: {error}", path.display()))
}
