//! How much goes over an interface: `<bandwidth>`, by the kernel's traffic control.
//!
//! ```text
//!  tap:     host ── HTB: waits ──▶ tap ──▶ guest (inbound)      macvtap: the guest's own side, so the other way round
//!           host ◀── police: drops ── tap ◀── guest (outbound)
//!
//!  bridge:  1:1 (all of the network) ─┬─ 1:2 (guests without a floor: what is left)
//!                                     ├─ 1:3 (the first guest with a floor, by its address)
//!                                     └─ 1:4 …
//! ```
//!
//! As libvirt does it (virNetDevBandwidthSet), in its units: `kbps` are 1000 bytes per second. What is said here lives in
//! the kernel, with the interface: a daemon that comes anew finds it done. Pure but for [`apply`]; `tc` has no library
//! that knows HTB. Deliberately absent: limits on ports of Open vSwitch, and by address on a tap.

use std::fmt::Write as _;
use std::time::Duration;

use lodge_model::MacAddr;
use lodge_model::domain::interface::{Bandwidth, Rate};
use lodge_sys::tool::{Tool, ToolError};

use crate::NetworkError;

/// How long `tc` may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// A frame; a class may send as many bytes before another has its turn, or less where it is slow.
const FRAME_BYTES: u64 = 1500;
/// The most that the kernel can be told as bytes of a burst.
const BURST_KIB_MAX: u64 = u32::MAX as u64 / 1024;
/// The first class of a guest on a bridge: 1 is the whole, 2 what is left.
const FIRST_CLASS: usize = 3;

/// Which side of a card an interface of the host's is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// A tap or a bridge: what it sends the guest receives.
    Hosts,
    /// A macvtap: what it sends, the guest sends.
    Guests,
}

/// What `tc` is told, line by line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Script {
    /// All of it must be done.
    needed: String,
    /// A fair queue for each class; a kernel may not have it, and takes frames in their order then.
    leaves: String,
}

impl Script {
    /// The limits of one card.
    pub fn of_card(ifname: &str, bandwidth: &Bandwidth, side: Side) -> Self {
        let Bandwidth { inbound, outbound, .. } = bandwidth;
        let (sends, receives) = match side {
            Side::Hosts => (inbound, outbound),
            Side::Guests => (outbound, inbound),
        };
        let mut script = Self::default();
        if let Some((rate, average)) = sends.as_ref().and_then(|rate| Some((rate, average_of(rate)?))) {
            script.line(format_args!("qdisc add dev {ifname} root handle 1: htb default 1"));
            script.class(ifname, ("1:", "1:1"), average, rate.peak_kib_s, rate.burst_kib);
            script.leaf(ifname, 1);
        }
        script.police(ifname, receives.as_ref());
        script
    }

    /// The limits of a network's own bridge, with guests that are to have something for sure.
    pub fn of_bridge(bridge: &str, bandwidth: &Bandwidth, floors: &[Floor]) -> Self {
        let mut script = Self::shares(bridge, bandwidth, floors);
        script.police(bridge, bandwidth.outbound.as_ref());
        script
    }

    /// Of these the part that follows guests as they come and go.
    pub fn shares(bridge: &str, bandwidth: &Bandwidth, floors: &[Floor]) -> Self {
        let mut script = Self::default();
        let inbound = bandwidth.inbound.as_ref();
        let Some((rate, average)) = inbound.and_then(|rate| Some((rate, average_of(rate)?))) else {
            return script;
        };
        let most = rate.peak_kib_s.unwrap_or(average);
        let taken: u64 = floors.iter().map(|floor| floor.kib_s).sum();
        script.line(format_args!("qdisc add dev {bridge} root handle 1: htb default 2"));
        script.class(bridge, ("1:", "1:1"), average, Some(most), None);
        let left = average.saturating_sub(taken).max(1);
        script.class(bridge, ("1:1", "1:2"), left, Some(most), rate.burst_kib);
        script.leaf(bridge, 2);
        for (number, Floor { mac, kib_s }) in (FIRST_CLASS..).zip(floors) {
            script.class(bridge, ("1:1", &format!("1:{number:x}")), *kib_s, Some(most), None);
            script.leaf(bridge, number);
            let mac = mac.to_string().replace(':', "");
            let (first, rest) = mac.split_at(4);
            // Where the frame's destination stands, counted from its payload.
            script.line(format_args!(
                "filter add dev {bridge} parent 1:0 protocol all prio {number} u32 \
                 match u16 0x{first} 0xffff at -14 \
                 match u32 0x{rest} 0xffffffff at -12 flowid 1:{number:x}"
            ));
        }
        script
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.needed, "{line}").expect("a String takes all");
    }

    fn class(
        &mut self,
        ifname: &str,
        (parent, class): (&str, &str),
        rate: u64,
        ceil: Option<u64>,
        burst: Option<u64>,
    ) {
        let ceil = ceil.map(|ceil| format!(" ceil {ceil}kbps")).unwrap_or_default();
        let burst = burst.map(|burst| format!(" burst {burst}kb")).unwrap_or_default();
        let quantum = (rate.saturating_mul(1024) / 8 / FRAME_BYTES).max(1);
        self.line(format_args!(
            "class add dev {ifname} parent {parent} classid {class} htb rate {rate}kbps{ceil}{burst} quantum {quantum}"
        ));
    }

    fn leaf(&mut self, ifname: &str, number: usize) {
        // The root has the handle 1.
        let handle = if number == 1 { 2 } else { number };
        writeln!(self.leaves, "qdisc add dev {ifname} parent 1:{number:x} handle {handle:x}: sfq perturb 10")
            .expect("a String takes all");
    }

    /// What comes in too fast is dropped: it cannot wait.
    fn police(&mut self, ifname: &str, rate: Option<&Rate>) {
        let Some((rate, average)) = rate.and_then(|rate| Some((rate, average_of(rate)?))) else { return };
        let burst = rate.burst_kib.unwrap_or(average).min(BURST_KIB_MAX);
        self.line(format_args!("qdisc add dev {ifname} ingress"));
        self.line(format_args!(
            "filter add dev {ifname} parent ffff: protocol all u32 match u32 0 0 \
             police rate {average}kbps burst {burst}kb mtu 64kb drop flowid :1"
        ));
    }
}

/// What a guest is to have for sure on its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Floor {
    /// The guest's address.
    pub mac: MacAddr,
    pub kib_s: u64,
}

impl Floor {
    /// That of a card, judged by its network; `others`: what others have for sure already. The words are libvirt's.
    pub fn of(
        card: &Bandwidth,
        mac: MacAddr,
        (network, whole): (&str, Option<&Bandwidth>),
        others: u64,
    ) -> Result<Option<Self>, NetworkError> {
        let Some(kib_s) = card.inbound.as_ref().and_then(|rate| rate.floor_kib_s).filter(|floor| *floor > 0)
        else {
            return Ok(None);
        };
        let refused = |what: String| NetworkError::Floor { mac, network: network.to_owned(), what };
        let inbound = whole.and_then(|whole| whole.inbound.as_ref());
        let Some((rate, average)) = inbound.and_then(|rate| Some((rate, average_of(rate)?))) else {
            return Err(refused("the network has no inbound QoS set".to_owned()));
        };
        let most = rate.peak_kib_s.unwrap_or(average);
        let sum = others.saturating_add(kib_s);
        if sum > most {
            return Err(refused(format!("the combined inbound floor={sum} would overcommit {most}")));
        }
        Ok(Some(Self { mac, kib_s }))
    }
}

fn average_of(rate: &Rate) -> Option<u64> {
    rate.average_kib_s.filter(|average| *average > 0)
}

/// Has it done, on an interface without limits.
pub(crate) async fn apply(ifname: &str, script: Script) -> Result<(), NetworkError> {
    if script.needed.is_empty() {
        return Ok(());
    }
    tc(script.needed).await.map_err(|error| failed(ifname, &error))?;
    if !script.leaves.is_empty()
        && let Err(error) = tc(script.leaves).await
    {
        tracing::debug!(interface = ifname, %error, "no fair queue below a limit");
    }
    Ok(())
}

/// Has the shares of a bridge's guests done anew, in place of those that are there.
pub(crate) async fn apply_anew(bridge: &str, script: Script) -> Result<(), NetworkError> {
    if let Err(error) = tc(format!("qdisc del dev {bridge} root\n")).await {
        tracing::debug!(bridge, %error, "there were no limits");
    }
    apply(bridge, script).await
}

/// Refuses a bridge of somebody else's that has limits of somebody else's. What has the handle 0 is the kernel's own.
pub(crate) async fn refuse_limited(bridge: &str) -> Result<(), NetworkError> {
    let shown = Tool::new("tc", PATIENCE).args(["qdisc", "show", "dev", bridge]).run().await;
    let shown = shown.map_err(|error| failed(bridge, &error))?;
    let shown = String::from_utf8_lossy(&shown);
    match shown.lines().find(|line| line.split_whitespace().nth(2).is_some_and(|handle| handle != "0:")) {
        Some(found) => {
            Err(NetworkError::Limited { bridge: bridge.to_owned(), found: found.trim().to_owned() })
        }
        None => Ok(()),
    }
}

/// Takes all limits of an interface back.
pub(crate) async fn lift(ifname: &str) {
    for hook in ["root", "ingress"] {
        if let Err(error) = tc(format!("qdisc del dev {ifname} {hook}\n")).await {
            tracing::debug!(interface = ifname, hook, %error, "there were no limits");
        }
    }
}

/// Has the limits of one card done anew, in place of those that are there.
pub(crate) async fn renew(ifname: &str, script: Script) -> Result<(), NetworkError> {
    lift(ifname).await;
    apply(ifname, script).await
}

fn failed(ifname: &str, error: &ToolError) -> NetworkError {
    NetworkError::Limit {
        subject: ifname.to_owned(),
        missing: matches!(error, ToolError::Missing { .. }),
        detail: error.to_string(),
    }
}

async fn tc(lines: String) -> Result<Vec<u8>, ToolError> {
    Tool::new("tc", PATIENCE).args(["-batch", "-"]).input(lines.into_bytes()).run().await
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn rate(average: u64, peak: Option<u64>, burst: Option<u64>) -> Rate {
        Rate { average_kib_s: Some(average), peak_kib_s: peak, burst_kib: burst, ..Rate::default() }
    }

    #[test]
    fn what_a_guest_receives_waits_and_what_it_sends_too_fast_is_dropped() {
        let bandwidth = Bandwidth {
            inbound: Some(rate(1000, Some(5000), Some(1024))),
            outbound: Some(rate(128, None, None)),
            ..Bandwidth::default()
        };
        let tap = Script::of_card("vnet0", &bandwidth, Side::Hosts);
        expect![[r"
            qdisc add dev vnet0 root handle 1: htb default 1
            class add dev vnet0 parent 1: classid 1:1 htb rate 1000kbps ceil 5000kbps burst 1024kb quantum 85
            qdisc add dev vnet0 ingress
            filter add dev vnet0 parent ffff: protocol all u32 match u32 0 0 police rate 128kbps burst 128kb mtu 64kb drop flowid :1
        "]]
        .assert_eq(&tap.needed);
        assert_eq!(tap.leaves, "qdisc add dev vnet0 parent 1:1 handle 2: sfq perturb 10\n");
        let macvtap = Script::of_card("macvtap0", &bandwidth, Side::Guests);
        expect![[r"
            qdisc add dev macvtap0 root handle 1: htb default 1
            class add dev macvtap0 parent 1: classid 1:1 htb rate 128kbps quantum 10
            qdisc add dev macvtap0 ingress
            filter add dev macvtap0 parent ffff: protocol all u32 match u32 0 0 police rate 1000kbps burst 1024kb mtu 64kb drop flowid :1
        "]]
        .assert_eq(&macvtap.needed);
        let floor_only = Rate { floor_kib_s: Some(5), ..Rate::default() };
        let none = Bandwidth { inbound: Some(floor_only), ..Bandwidth::default() };
        assert_eq!(Script::of_card("vnet0", &none, Side::Hosts), Script::default());
    }

    #[test]
    fn guests_with_a_floor_have_a_class_each_and_the_others_what_is_left() {
        let whole = Bandwidth {
            inbound: Some(rate(1000, Some(2000), None)),
            outbound: Some(rate(u64::from(u32::MAX), None, None)),
            ..Bandwidth::default()
        };
        let floors = [
            Floor { mac: MacAddr([0x52, 0x54, 0, 0, 0, 1]), kib_s: 200 },
            Floor { mac: MacAddr([0x52, 0x54, 0, 0, 0, 2]), kib_s: 900 },
        ];
        let script = Script::of_bridge("virbr0", &whole, &floors);
        expect![[r"
            qdisc add dev virbr0 root handle 1: htb default 2
            class add dev virbr0 parent 1: classid 1:1 htb rate 1000kbps ceil 2000kbps quantum 85
            class add dev virbr0 parent 1:1 classid 1:2 htb rate 1kbps ceil 2000kbps quantum 1
            class add dev virbr0 parent 1:1 classid 1:3 htb rate 200kbps ceil 2000kbps quantum 17
            filter add dev virbr0 parent 1:0 protocol all prio 3 u32 match u16 0x5254 0xffff at -14 match u32 0x00000001 0xffffffff at -12 flowid 1:3
            class add dev virbr0 parent 1:1 classid 1:4 htb rate 900kbps ceil 2000kbps quantum 76
            filter add dev virbr0 parent 1:0 protocol all prio 4 u32 match u16 0x5254 0xffff at -14 match u32 0x00000002 0xffffffff at -12 flowid 1:4
            qdisc add dev virbr0 ingress
            filter add dev virbr0 parent ffff: protocol all u32 match u32 0 0 police rate 4294967295kbps burst 4194303kb mtu 64kb drop flowid :1
        "]]
        .assert_eq(&script.needed);
    }

    #[test]
    fn a_floor_is_what_the_network_has() {
        let mac = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
        let card = Bandwidth {
            inbound: Some(Rate { floor_kib_s: Some(300), ..Rate::default() }),
            ..Bandwidth::default()
        };
        let whole = Bandwidth { inbound: Some(rate(1000, None, None)), ..Bandwidth::default() };
        let of = |whole: Option<&Bandwidth>, others| Floor::of(&card, mac, ("n", whole), others);
        assert_eq!(of(Some(&whole), 700).unwrap(), Some(Floor { mac, kib_s: 300 }));
        let refused = [of(Some(&whole), 701), of(None, 0)].map(|answer| answer.unwrap_err().to_string());
        expect![[r#"
            [
                "invalid use of 'floor' on the interface with MAC address 52:54:00:00:00:01 - network `n`: the combined inbound floor=1001 would overcommit 1000",
                "invalid use of 'floor' on the interface with MAC address 52:54:00:00:00:01 - network `n`: the network has no inbound QoS set",
            ]
        "#]]
        .assert_debug_eq(&refused);
        assert_eq!(Floor::of(&Bandwidth::default(), mac, ("n", None), 0).unwrap(), None);
    }
}
