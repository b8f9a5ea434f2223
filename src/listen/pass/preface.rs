//! Writes the PROXY header, version 2 (`HAProxy`'s `proxy-protocol.txt`, section 2.2), by which a
//! target learns whose connection it is (NET-3).
use std::net::{IpAddr, SocketAddr};

const START: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, on behalf of a client.
const PROXY: u8 = 0x21;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// The header of a connection that `client` opened to `local`. Addresses of two families are both
/// written as IPv6.
pub(super) fn v2(client: SocketAddr, local: SocketAddr) -> Vec<u8> {
    let (client_ip, local_ip) = (client.ip().to_canonical(), local.ip().to_canonical());
    let (family, addresses) = match (client_ip, local_ip) {
        (IpAddr::V4(client), IpAddr::V4(local)) => {
            (TCP4, [client.octets(), local.octets()].concat())
        }
        (client, local) => (TCP6, [wide(client), wide(local)].concat()),
    };
    let ports = [client.port().to_be_bytes(), local.port().to_be_bytes()].concat();
    let length = u16::try_from(addresses.len().saturating_add(ports.len())).unwrap_or(u16::MAX);
    [&START[..], &[PROXY, family], &length.to_be_bytes(), &addresses, &ports].concat()
}

const fn wide(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::proxy_header::{Source, Step, parse};

    #[test]
    fn net_3_what_is_told_is_what_is_read() {
        let (v4, v6) = ("203.0.113.7:5000", "[2001:db8::7]:5000");
        for (client, local, read) in [
            (v4, "192.0.2.1:443", v4),
            (v6, "[2001:db8::1]:443", v6),
            (v6, "192.0.2.1:443", v6),
            (v4, "[2001:db8::1]:443", "[::ffff:203.0.113.7]:5000"),
            ("[::ffff:203.0.113.7]:5000", "[::ffff:192.0.2.1]:443", v4),
        ] {
            let header = v2(client.parse().unwrap(), local.parse().unwrap());
            let source = Source::Proxied { client: read.parse().unwrap() };
            let whole = Ok(Step::Done { consumed: header.len(), source });
            assert_eq!(parse(&header), whole, "{client} {local}");
        }
    }
}
