//! Where a request stands in a distributed trace: W3C's `traceparent`.

use std::fmt;
use std::str::FromStr;

use tracing::Span;

/// A place in a trace: the trace, the span that called, and its flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    trace: u128,
    span: u64,
    flags: u8,
}

/// The text is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no traceparent such as 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]
pub struct NoTraceParent;

impl TraceParent {
    /// Where a span stands that is exported; `None` if it is not.
    pub fn of(span: &Span) -> Option<Self> {
        #[cfg(feature = "otel")]
        {
            use opentelemetry::trace::TraceContextExt;
            use tracing_opentelemetry::OpenTelemetrySpanExt;
            let context = span.context();
            let place = context.span().span_context().clone();
            place.is_valid().then(|| Self {
                trace: u128::from_be_bytes(place.trace_id().to_bytes()),
                span: u64::from_be_bytes(place.span_id().to_bytes()),
                flags: place.trace_flags().to_u8(),
            })
        }
        #[cfg(not(feature = "otel"))]
        {
            let _ = span;
            None
        }
    }

    /// Makes a span that is exported a child of this place.
    pub fn adopt(self, span: &Span) {
        #[cfg(feature = "otel")]
        {
            use opentelemetry::trace::{SpanContext, TraceContextExt, TraceFlags};
            use tracing_opentelemetry::OpenTelemetrySpanExt;
            let flags = TraceFlags::new(self.flags);
            let place = SpanContext::new(self.trace.into(), self.span.into(), flags, true, Default::default());
            // `Err` if nobody exports it.
            let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(place));
        }
        #[cfg(not(feature = "otel"))]
        let _ = span;
    }

    /// The same trace, from a span of ours.
    pub(crate) fn child(self, minted: [u8; 16]) -> Self {
        let [.., a, b, c, d, e, f, g, h] = minted;
        let span = u64::from_be_bytes([a, b, c, d, e, f, g, h]).max(1);
        Self { span, ..self }
    }
}

impl FromStr for TraceParent {
    type Err = NoTraceParent;

    /// Of a version that is not known, what every version has.
    fn from_str(text: &str) -> Result<Self, NoTraceParent> {
        let mut parts = text.split('-');
        let mut hex = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits);
            let is_hex = |part: &&str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            let part = part.filter(is_hex).ok_or(NoTraceParent)?;
            u128::from_str_radix(part, 16).map_err(|_| NoTraceParent)
        };
        let (version, trace, span, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
        let ends = parts.next().is_none();
        match version != 0xff && trace != 0 && span != 0 && (version > 0 || ends) {
            true => Ok(Self {
                trace,
                span: span as u64,
                flags: flags as u8,
            }),
            false => Err(NoTraceParent),
        }
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Of the flags, only those that this version knows are passed on.
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags & 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_read_is_written_and_what_is_none_is_refused() {
        let read: TraceParent = GOOD.parse().expect("it is one");
        assert_eq!(read.to_string(), GOOD);
        let later = GOOD.replacen("00", "cc", 1) + "-what-comes";
        assert_eq!(later.parse(), Ok(read));
        for text in [
            "",
            "00",
            &GOOD[..54],
            &GOOD.to_uppercase(),
            &GOOD.replacen("00", "ff", 1),
            &format!("{GOOD}-00"),
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &GOOD.replace("4bf9", "+bf9"),
        ] {
            assert_eq!(text.parse::<TraceParent>(), Err(NoTraceParent), "{text}");
        }
    }

    #[test]
    fn a_child_is_in_the_same_trace_with_a_span_of_its_own() {
        let parent: TraceParent = GOOD.parse().expect("it is one");
        let child = parent.child([7; 16]).to_string();
        assert_eq!(child, "00-4bf92f3577b34da6a3ce929d0e0e4736-0707070707070707-01");
        assert!(parent.child([0; 16]).to_string().parse::<TraceParent>().is_ok());
    }
}
