//! Rows of the table for heads, paths and upstreams, each of which may fail in many ways.
use super::{FIX_REQUEST, Line, TRY_LATER, row};
use crate::base::{HeadFault, PathFault, UpstreamFault, WithheldFault};

pub(super) const fn head_line(fault: HeadFault) -> Line {
    match fault {
        HeadFault::BareLineEnd => {
            row(400, "InvalidInput", "a header line does not end in CR LF", FIX_REQUEST)
        }
        HeadFault::ControlByte => {
            row(400, "InvalidInput", "the request head holds a control byte", FIX_REQUEST)
        }
        HeadFault::RequestLine => {
            row(400, "InvalidInput", "the request line is malformed", FIX_REQUEST)
        }
        HeadFault::Version => {
            row(505, "InvalidInput", "only HTTP/1.1 and HTTP/2 are spoken here", FIX_REQUEST)
        }
        HeadFault::FieldLine => {
            row(400, "InvalidInput", "a header field is malformed", FIX_REQUEST)
        }
        HeadFault::Host => row(
            400,
            "InvalidInput",
            "Host is missing, repeated or differs from the target",
            FIX_REQUEST,
        ),
        HeadFault::Length => row(
            400,
            "InvalidInput",
            "the length of the body is given twice or is no number",
            FIX_REQUEST,
        ),
        HeadFault::TransferCoding => {
            row(400, "InvalidInput", "no transfer coding but chunked is accepted", FIX_REQUEST)
        }
        HeadFault::TooLarge => row(
            431,
            "InvalidInput",
            "the header is larger than the gateway allows",
            "send smaller headers, or ask the platform team about listener.bounds.header_bytes and h2_header_bytes",
        ),
        HeadFault::TooMany => row(
            431,
            "InvalidInput",
            "there are more header fields than the gateway allows",
            "send fewer headers, or ask the platform team about listener.bounds.header_count",
        ),
        HeadFault::TargetTooLong => row(
            414,
            "InvalidInput",
            "path and query are longer than the gateway allows",
            "send a shorter query, or ask the platform team about listener.bounds.target_bytes",
        ),
        HeadFault::TooSlow => {
            row(408, "RequestTimedOut", "the request head came too slowly", TRY_LATER)
        }
        HeadFault::Method => row(405, "InvalidInput", "this method is not served", FIX_REQUEST),
        HeadFault::MaxWait => row(
            400,
            "InvalidInput",
            "Sekisho-Max-Wait is given twice or is no plain number of seconds",
            "write it once, such as `Sekisho-Max-Wait: 2.5`; 0 means not to wait, leaving it out what the platform team configured",
        ),
        HeadFault::Streams => row(
            503,
            "ServiceUnavailable",
            "more requests came at a time than one connection may have",
            "open another connection, or ask the platform team about listener.bounds.h2_streams",
        ),
        HeadFault::Engine => row(400, "InvalidInput", "the request head is malformed", FIX_REQUEST),
    }
}

pub(super) const fn path_words(fault: PathFault) -> &'static str {
    match fault {
        PathFault::DotSegment => "the path holds a dot segment",
        PathFault::EmptySegment => "the path holds an empty segment",
        PathFault::EncodedSeparator => "the path holds an encoded separator",
        PathFault::BrokenEscape => "the path or query holds a broken escape",
        PathFault::MixedEncoding => "the path holds an escape that is not in its one spelling",
        PathFault::BadUtf8 => "an escape in the path is no UTF-8",
        PathFault::ControlByte => "the path or query holds a control byte",
        PathFault::PathParameter => "the path holds a ;-parameter",
        PathFault::IllegalByte => "the path or query holds a byte that must be escaped",
        PathFault::NotAbsolute => "the request target is not a path",
        PathFault::Query => "the query can be read in more than one way",
    }
}

pub(super) const fn withheld_line(fault: WithheldFault) -> Line {
    match fault {
        WithheldFault::RequestCoding => row(
            415,
            "UnsupportedMediaType",
            "the request body is compressed, and the gateway has to look into it",
            "send it without Content-Encoding",
        ),
        WithheldFault::RequestCharset => row(
            415,
            "UnsupportedMediaType",
            "the request body is in a charset that the gateway can't look into",
            "send it in UTF-8",
        ),
        WithheldFault::Coding => row(
            403,
            "AccessDenied",
            "the upstream of {operation} answered with something compressed, and the gateway has to look into it",
            "have the upstream answer without Content-Encoding, as Accept-Encoding asked",
        ),
        WithheldFault::Charset => row(
            403,
            "AccessDenied",
            "the upstream of {operation} answered in a charset that the gateway can't look into",
            "ask for UTF-8",
        ),
        WithheldFault::Partial => row(
            403,
            "AccessDenied",
            "the upstream of {operation} answered with a part of something, and the gateway has to see the whole",
            "have the upstream answer with the whole, as it was asked to",
        ),
        WithheldFault::Frames => row(
            403,
            "AccessDenied",
            "a frame of the socket is compressed, and the gateway has to look into it",
            "open the socket without extensions",
        ),
    }
}

pub(super) const fn upstream_line(fault: UpstreamFault) -> Line {
    match fault {
        UpstreamFault::Unreachable => row(
            502,
            "ServiceUnavailable",
            "the upstream of {operation} can't be reached",
            TRY_LATER,
        ),
        UpstreamFault::Untrusted => row(
            502,
            "ServiceUnavailable",
            "the upstream of {operation} could not prove that it is the right one; nothing was sent",
            "tell the platform team: its certificate, name or pin does not verify",
        ),
        UpstreamFault::TimedOut => {
            row(504, "ServiceUnavailable", "the upstream of {operation} took too long", TRY_LATER)
        }
        UpstreamFault::Malformed => row(
            502,
            "ServiceUnavailable",
            "the upstream of {operation} answered with something that is no valid HTTP",
            TRY_LATER,
        ),
        UpstreamFault::CircuitOpen => row(
            503,
            "ServiceUnavailable",
            "the upstream of {operation} failed repeatedly and is left alone for a while",
            TRY_LATER,
        ),
        UpstreamFault::Closed => row(
            502,
            "ServiceUnavailable",
            "the upstream of {operation} closed the connection before its answer was whole",
            TRY_LATER,
        ),
    }
}
