//! Processors of a guest: how many, which, and on which of the host's they run.

pub mod iothread;
pub mod pin;
mod plug;

use lodge_model::domain::Domain;
use lodge_model::domain::cpu::Vcpu;
use lodge_model::xml::Kept;

use super::{Change, Refusal, Scope};

/// `virsh setvcpus`: so many from now on (or from the next start).
pub fn set_count(count: u32, scope: Scope) -> Change {
    let edit = move |domain: &mut Domain| {
        let vcpu = domain.vcpu.get_or_insert_with(one);
        if count > vcpu.count {
            return Err(too_many("persistent", count, vcpu.count));
        }
        vcpu.current = (count < vcpu.count).then_some(count);
        list_plugged(domain, |number| number < count);
        Ok(())
    };
    Change::new("setvcpus", scope).config(edit).live(move |mut running| async move {
        let outcome = plug::set_count(&mut running, count).await;
        (running, outcome)
    })
}

/// `virsh setvcpus --maximum`.
pub fn set_maximum(count: u32) -> Change {
    Change::new("setvcpus", Scope::CONFIG).config(move |domain| {
        let vcpu = domain.vcpu.get_or_insert_with(one);
        let current = vcpu.at_start().min(count);
        vcpu.count = count;
        vcpu.current = (current < count).then_some(current);
        if let Some(topology) = domain.cpu.as_ref().and_then(|cpu| cpu.topology.as_ref()) {
            let parts = [
                topology.sockets,
                topology.dies.unwrap_or(1),
                topology.clusters.unwrap_or(1),
                topology.cores,
            ];
            let product = parts.into_iter().fold(topology.threads, u32::saturating_mul);
            if product != count {
                return Err(Refusal::arg("CPU topology doesn't match the desired vcpu count"));
            }
        }
        if let Some(tune) = domain.cputune.as_deref_mut() {
            tune.vcpu_pins.retain(|pin| pin.vcpu < count);
        }
        if domain.vcpus.tree("vcpus").is_some() {
            list_plugged(domain, |number| number < current);
        }
        Ok(())
    })
}

/// `virsh setvcpu`: plugs some in or out.
pub fn set_plugged(which: Vec<u32>, plugged: bool, scope: Scope) -> Change {
    let of_live = which.clone();
    let edit = move |domain: &mut Domain| {
        let vcpu = domain.vcpu.clone().unwrap_or_else(one);
        let mut now = plugged_in(domain);
        for number in &which {
            if *number >= vcpu.count {
                return Err(Refusal::arg(format!("vcpu {number} is not present in persistent config")));
            }
            if *number == 0 {
                return Err(cannot_be_modified(0));
            }
            now[*number as usize] = plugged;
        }
        let current = u32::try_from(now.iter().filter(|plugged| **plugged).count()).unwrap_or(vcpu.count);
        let kept = domain.vcpu.get_or_insert_with(one);
        kept.current = (current < vcpu.count).then_some(current);
        write_list(domain, &now);
        Ok(())
    };
    Change::new("setvcpu", scope).config(edit).live(move |mut running| async move {
        let outcome = plug::set_plugged(&mut running, &of_live, plugged).await;
        (running, outcome)
    })
}

fn cannot_be_modified(number: u32) -> Refusal {
    Refusal::arg(format!("vCPU '{number}' can't be modified"))
}

fn one() -> Vcpu {
    Vcpu { count: 1, ..Vcpu::default() }
}

fn too_many(which: &str, count: u32, most: u32) -> Refusal {
    Refusal::arg(format!(
        "requested vcpus is greater than max allowable vcpus for the {which} domain: {count} > {most}"
    ))
}

/// Which processors a document has plugged in, by number.
pub fn plugged_in(domain: &Domain) -> Vec<bool> {
    let none = one();
    let vcpu = domain.vcpu.as_ref().unwrap_or(&none);
    let mut plugged: Vec<bool> = (0..vcpu.count).map(|number| number < vcpu.at_start()).collect();
    if let Some(list) = domain.vcpus.tree("vcpus") {
        for item in list.all("vcpu") {
            let number = item.attribute("id").and_then(|id| id.parse::<usize>().ok());
            if let Some(place) = number.and_then(|number| plugged.get_mut(number)) {
                *place = item.attribute("enabled") == Some("yes");
            }
        }
    }
    plugged
}

/// Brings `<vcpus>`, where there is one, into line.
fn list_plugged(domain: &mut Domain, plugged: impl Fn(u32) -> bool) {
    if domain.vcpus.tree("vcpus").is_none() {
        return;
    }
    let count = domain.vcpu.as_ref().map_or(1, |vcpu| vcpu.count);
    let now: Vec<bool> = (0..count).map(plugged).collect();
    write_list(domain, &now);
}

/// libvirt writes the list only where processors are plugged otherwise than from the first on, or can be.
fn write_list(domain: &mut Domain, plugged: &[bool]) {
    let mut list = Kept::new("vcpus");
    let mut order = 0;
    for (number, plugged) in plugged.iter().enumerate() {
        let item = Kept::new("vcpu").with("id", number);
        let item = item.with("enabled", if *plugged { "yes" } else { "no" });
        let item = item.with("hotpluggable", if number == 0 { "no" } else { "yes" });
        order += usize::from(*plugged);
        list.children.push(if *plugged { item.with("order", order) } else { item });
    }
    domain.vcpus.set_tree(&list);
}
