//! The fields that tell a caller where it stands.
use super::{Quotas, Standing};
use crate::base::{IdentityIx, OperationIx, UpstreamIx};
use crate::policy::Mode;

impl Quotas {
    /// Appends the value of `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10 §3): every
    /// window that applies, such as `"orders-1s";q=10;w=1, "orders-1m";q=300;w=60`. A burst other
    /// than the quota is told as `sekisho-burst`. Appends nothing where no limit applies.
    pub fn write_policy(
        &self,
        who: IdentityIx,
        operation: OperationIx,
        upstream: UpstreamIx,
        out: &mut Vec<u8>,
    ) {
        let Some(account) = self.accounts.get(who.index()) else { return };
        let mut separator: &[u8] = b"";
        for (_, limit, lane) in self.applying(account, operation, upstream) {
            if limit.mode == Mode::Shadow {
                continue;
            }
            out.extend_from_slice(separator);
            out.extend_from_slice(lane.policy.as_bytes());
            separator = b", ";
        }
    }

    /// Appends the value of `RateLimit` (the same draft, §4), such as `"orders-1m";r=12;t=3`.
    pub fn write_standing(&self, standing: &Standing, out: &mut Vec<u8>) {
        let limit = self.limits.get(standing.limit.index());
        let lane = limit.and_then(|limit| limit.lanes.get(usize::from(standing.window)));
        if let Some(lane) = lane {
            out.extend_from_slice(lane.label.as_bytes());
            out.extend_from_slice(b";r=");
            push_decimal(standing.remaining, out);
            out.extend_from_slice(b";t=");
            push_decimal(standing.reset_secs(), out);
        }
    }
}

fn push_decimal(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let mut used = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        used += 1;
        if number == 0 {
            break;
        }
    }
    out.extend(digits.iter().skip(20 - used));
}
