use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn mac(number: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, number])
}

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

fn lease(ip: Ipv4Addr, until: u64) -> Holding {
    Holding { ip, state: State::Bound, until, hostname: None, client_id: None }
}

/// Gives `number` an address until `until`.
fn give(table: &mut Table, number: u8, now: u64, until: u64) -> Option<Ipv4Addr> {
    let ip = table.offer(mac(number), None, None, now)?;
    assert!(table.bind(mac(number), lease(ip, until), None, now));
    Some(ip)
}

#[test]
fn a_guest_keeps_its_address_even_after_its_lease_ended() {
    let mut table = Table::new(&Scope::example());
    let first = give(&mut table, 1, 0, 10).unwrap();
    assert_eq!(table.sweep(10).len(), 1);
    assert_eq!(table.lease_count(), 0);
    for other in 2..=4 {
        assert_ne!(give(&mut table, other, 11, 99), Some(first), "others get fresh ones first");
    }
    assert_eq!(table.offer(mac(1), None, None, 12), Some(first));
}

#[test]
fn when_nothing_is_fresh_the_longest_ended_goes_first_and_then_nothing() {
    let mut table = Table::new(&Scope::example());
    let ips: Vec<_> =
        (1..=4).map(|number| give(&mut table, number, 0, 10 + u64::from(number)).unwrap()).collect();
    table.sweep(13);
    assert_eq!(give(&mut table, 5, 13, 99), Some(ips[0]));
    assert_eq!(table.offer(mac(1), None, None, 13), Some(ips[1]), "its own went to another");
    assert_eq!(give(&mut table, 6, 13, 99), Some(ips[2]), "offers are kept while something else is left");
    assert_eq!(table.offer(mac(7), None, None, 13), Some(ips[1]), "an offer is no promise");
    assert!(table.bind(mac(7), lease(ips[1], 99), None, 13));
    assert_eq!(table.offer(mac(8), None, None, 13), None);
}

#[test]
fn a_wish_is_granted_when_nobody_has_it() {
    let mut table = Table::new(&Scope::example());
    assert_eq!(table.offer(mac(1), Some(ip(20)), None, 0), Some(ip(20)));
    assert_ne!(table.offer(mac(2), Some(ip(20)), None, 0), Some(ip(20)));
    for outside in [ip(1), ip(50), ip(99), Ipv4Addr::new(192, 0, 2, 1)] {
        assert_ne!(
            table.offer(mac(3), Some(outside), None, 0),
            Some(outside),
            "{outside} is not to be given"
        );
    }
}

#[test]
fn a_fixed_address_is_its_guests_alone() {
    let mut table = Table::new(&Scope::example());
    assert_eq!(table.offer(mac(50), Some(ip(10)), None, 0), Some(ip(50)));
    assert!(!table.bind(mac(1), lease(ip(50), 9), None, 0));
    assert!(!table.bind(mac(50), lease(ip(10), 9), None, 0), "and its guest has no other");
    assert!(table.bind(mac(50), lease(ip(50), 9), None, 0));
}

#[test]
fn a_declined_address_rests_and_one_guest_cannot_decline_all() {
    let mut table = Table::new(&Scope::example());
    let mut declined = Vec::new();
    for _ in 0..4 {
        let ip = give(&mut table, 1, 0, 99).unwrap();
        assert!(table.decline(mac(1), ip, 0));
        declined.push(ip);
    }
    assert_eq!(table.free_count(), 2, "half of the ranges stays");
    assert!(!table.decline(mac(2), ip(10), 0), "not its own");
    table.sweep(QUARANTINE_S);
    assert_eq!(table.free_count(), 4);
}

#[test]
fn later_entries_of_a_journal_overrule_earlier_ones() {
    let mut table = Table::new(&Scope::example());
    assert!(table.restore(mac(1), lease(ip(10), 5), None));
    assert!(table.restore(mac(2), lease(ip(10), 9), None), "the first had ended by then");
    assert_eq!((table.holder(ip(10)), table.holding(mac(1))), (Some(mac(2)), None));
    assert!(!table.restore(mac(3), lease(ip(99), 9), None), "the definition has no such address any more");
}

#[derive(Debug, Clone)]
enum Act {
    Offer(u8, u8),
    Bind(u8, u8),
    Release(u8),
    Decline(u8),
    Pass(u8),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let guest = || prop_oneof![1..8_u8, Just(50)];
    let act = prop_oneof![
        (guest(), 8..24_u8).prop_map(|(guest, wish)| Act::Offer(guest, wish)),
        (guest(), 8..52_u8).prop_map(|(guest, ip)| Act::Bind(guest, ip)),
        guest().prop_map(Act::Release),
        guest().prop_map(Act::Decline),
        (1..200_u8).prop_map(Act::Pass),
    ];
    proptest::collection::vec(act, 0..200)
}

proptest! {
    /// Whatever guests do in whatever order: no address has two holders, none is lost, and a lease that
    /// has not ended is nobody else's.
    #[test]
    fn never_two_guests_on_one_address(acts in acts()) {
        let mut table = Table::new(&Scope::example());
        let mut now = 0_u64;
        let mut promised: HashMap<MacAddr, (Ipv4Addr, u64)> = HashMap::new();
        for act in acts {
            match act {
                Act::Offer(guest, wish) => {
                    table.offer(mac(guest), Some(ip(wish)), None, now);
                }
                Act::Bind(guest, last) => {
                    let until = now + 300;
                    if table.bind(mac(guest), lease(ip(last), until), None, now) {
                        promised.insert(mac(guest), (ip(last), until));
                    }
                }
                Act::Release(guest) => {
                    if let Some(held) = table.holding(mac(guest)).map(|held| held.ip)
                        && table.release(mac(guest), held, now)
                    {
                        promised.remove(&mac(guest));
                    }
                }
                Act::Decline(guest) => {
                    if let Some(held) = table.holding(mac(guest)).map(|held| held.ip)
                        && table.decline(mac(guest), held, now)
                    {
                        promised.remove(&mac(guest));
                    }
                }
                Act::Pass(seconds) => {
                    now += u64::from(seconds);
                    table.sweep(now);
                }
            }
            promised.retain(|_, (_, until)| *until > now);
            for (guest, (held, _)) in &promised {
                prop_assert_eq!(table.holder(*held), Some(*guest));
            }
            for (guest, held) in &table.by_mac {
                prop_assert_eq!(table.by_ip.get(&held.ip), Some(guest));
                prop_assert!(!table.free.contains(&held.ip));
            }
            prop_assert_eq!(table.by_mac.len(), table.by_ip.len());
            let ends = table.offered.len() + table.bound.len() + table.lapsed.len();
            prop_assert_eq!(ends, table.by_mac.len());
            let held_in_ranges = table.by_ip.keys().filter(|held| **held != ip(50)).count();
            let resting = table.quarantined.iter().filter(|(_, ip_)| *ip_ != ip(50)).count();
            prop_assert_eq!(table.free.len() + held_in_ranges + resting, 4);
        }
    }
}
