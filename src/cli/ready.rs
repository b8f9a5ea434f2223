//! `sekisho ready`: asks `/readyz`.
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;

use super::args::ReadyArgs;
use super::say::{self, Failure};

const ANSWER_MAX: u64 = 4_096;
const WAIT_MAX: Duration = Duration::from_secs(2);

pub(super) fn main(words: &ReadyArgs) -> Result<ExitCode, Failure> {
    let asked = || {
        let mut stream = TcpStream::connect_timeout(&words.address, WAIT_MAX)?;
        stream.set_read_timeout(Some(WAIT_MAX))?;
        stream.set_write_timeout(Some(WAIT_MAX))?;
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(ANSWER_MAX).read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer =
        asked().map_err(|error| Failure::new(format_args!("{}: {error}", words.address)))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    if head.starts_with("HTTP/1.1 200 ") {
        say::out(body.trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::new(if body.is_empty() { "no gateway answers there" } else { body.trim_end() }))
}
