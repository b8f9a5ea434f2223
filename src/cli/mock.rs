//! `sekisho mock-sp-api`: the mock of the Selling Partner API as a process of its own.
use std::io;
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::args::MockArgs;
use super::say::{self, Colour, Failure, Stream};
use super::{dev_certs, run};
use crate::devcerts::{Layout, Leaf};
use crate::mock::{MockConfig, MockSpApi, Personality, ScenarioRule, Throttling};

pub(super) fn main(words: &MockArgs) -> Result<ExitCode, Failure> {
    if !words.address.ip().is_loopback() {
        return Err(Failure::new(format_args!(
            "{} is not a loopback address, and the mock is for this machine only; write 127.0.0.1:{}",
            words.address,
            words.address.port()
        )));
    }
    let config = config(words)?;
    let runtime = run::runtime(None).map_err(Failure::new)?;
    runtime.block_on(serve(words, config))?;
    Ok(ExitCode::SUCCESS)
}

fn config(words: &MockArgs) -> Result<MockConfig, Failure> {
    let (certificate, key) = Layout::new(&words.dir).upstream();
    let leaf = Leaf::open(&certificate, &key)
        .map_err(|error| dev_certs::unreadable(&error, &words.dir))?;
    let scenarios = words.scenario.iter().map(|text| {
        text.parse::<ScenarioRule>()
            .map_err(|unknown| Failure::new(format_args!("--scenario {text}: {unknown}")))
    });
    Ok(MockConfig {
        address: words.address,
        scenarios: scenarios.collect::<Result<_, _>>()?,
        throttling: if words.amazon_rates { Throttling::Amazon } else { Throttling::Off },
        ..MockConfig::new(Personality::Amazon, leaf)
    })
}

async fn serve(words: &MockArgs, config: MockConfig) -> Result<(), Failure> {
    let mut stop = Stop::install().map_err(Failure::new)?;
    let (lwa, rules) = (config.lwa.clone(), config.scenarios.clone());
    let mock = MockSpApi::start(config)
        .await
        .map_err(|fault| Failure::new(format_args!("{}: {fault}", words.address)))?;
    let bold = |text: &str| say::paint(Stream::Out, Colour::Bold, text);
    let url = mock.url();
    say::out(format_args!("mock SP-API, token server included: {}", bold(&url)));
    for rule in &rules {
        say::out(format_args!("  {} is answered with: {}", rule.prefix, rule.scenario));
    }
    let ca = Layout::new(&words.dir).ca();
    let ca = std::path::absolute(&ca).unwrap_or(ca);
    say::out(format_args!(
        "\n{}\n  [[upstream]]\n  name = \"amazon\"\n  kind = \"sp-api\"\n  region = \"fe\"\n  \
         stage = \"sandbox\"\n  endpoint = \"{url}\"\n  token_endpoint = \"{url}\"\n  ca = \"{}\"",
        bold("Point a gateway at it (conf/developer.toml does):"),
        ca.display()
    ));
    say::out(format_args!(
        "\n{}\n  client_id      {}\n  client_secret  {}\n  refresh_token  {}\n  \
         marketplace    A1VC38T7YXB528",
        bold("What it knows:"),
        lwa.client_id,
        lwa.client_secret,
        lwa.refresh_token
    ));
    say::out("\nCtrl-C ends it.");
    stop.asked().await;
    let total = mock.total();
    mock.shutdown().await;
    say::out(format_args!("{total} requests were answered"));
    Ok(())
}

/// The wish that this process ends: SIGINT or SIGTERM.
pub(super) struct Stop {
    int: Signal,
    term: Signal,
}

impl Stop {
    /// From now on the signals no longer end the process by themselves.
    pub(super) fn install() -> io::Result<Self> {
        Ok(Self { int: signal(SignalKind::interrupt())?, term: signal(SignalKind::terminate())? })
    }

    pub(super) async fn asked(&mut self) {
        tokio::select! {
            _ = self.int.recv() => {}
            _ = self.term.recv() => {}
        }
    }
}
