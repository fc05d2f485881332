//! The PCI buses of a machine: which slots are taken, and where a device of a sort can go
//! (virDomainPCIAddressSet).

/// What a bus is: the model of its controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BusKind {
    PciRoot,
    PciBridge,
    DmiToPciBridge,
    PcieToPciBridge,
    PcieRoot,
    RootPort,
    SwitchUpstream,
    SwitchDownstream,
    Expander,
    PcieExpander,
}

/// What a device needs of a bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// A conventional slot.
    Pci,
    /// A PCI Express port.
    Pcie,
    /// A function of the board itself.
    Integrated,
    /// The place of a controller that makes such a bus.
    Bridge(BusKind),
}

impl BusKind {
    /// The bus that a controller of that model makes.
    pub(super) fn of_model(model: &str) -> Option<Self> {
        Some(match model {
            "pci-root" => Self::PciRoot,
            "pci-bridge" => Self::PciBridge,
            "dmi-to-pci-bridge" => Self::DmiToPciBridge,
            "pcie-to-pci-bridge" => Self::PcieToPciBridge,
            "pcie-root" => Self::PcieRoot,
            "pcie-root-port" => Self::RootPort,
            "pcie-switch-upstream-port" => Self::SwitchUpstream,
            "pcie-switch-downstream-port" => Self::SwitchDownstream,
            "pci-expander-bus" => Self::Expander,
            "pcie-expander-bus" => Self::PcieExpander,
            _ => return None,
        })
    }

    /// The model's word.
    pub(super) const fn model(self) -> &'static str {
        match self {
            Self::PciRoot => "pci-root",
            Self::PciBridge => "pci-bridge",
            Self::DmiToPciBridge => "dmi-to-pci-bridge",
            Self::PcieToPciBridge => "pcie-to-pci-bridge",
            Self::PcieRoot => "pcie-root",
            Self::RootPort => "pcie-root-port",
            Self::SwitchUpstream => "pcie-switch-upstream-port",
            Self::SwitchDownstream => "pcie-switch-downstream-port",
            Self::Expander => "pci-expander-bus",
            Self::PcieExpander => "pcie-expander-bus",
        }
    }

    /// QEMU's device of such a controller.
    pub(super) const fn device(self) -> Option<&'static str> {
        Some(match self {
            Self::PciRoot | Self::PcieRoot => return None,
            Self::PciBridge => "pci-bridge",
            Self::DmiToPciBridge => "i82801b11-bridge",
            Self::PcieToPciBridge => "pcie-pci-bridge",
            Self::RootPort => "pcie-root-port",
            Self::SwitchUpstream => "x3130-upstream",
            Self::SwitchDownstream => "xio3130-downstream",
            Self::Expander => "pxb",
            Self::PcieExpander => "pxb-pcie",
        })
    }

    /// First and last slot.
    pub(super) const fn slots(self) -> (u8, u8) {
        match self {
            Self::PciRoot | Self::PcieRoot | Self::PciBridge | Self::PcieToPciBridge => (1, 31),
            Self::DmiToPciBridge | Self::SwitchUpstream | Self::Expander => (0, 31),
            Self::RootPort | Self::SwitchDownstream | Self::PcieExpander => (0, 0),
        }
    }

    /// Whether a device is put there unasked.
    const fn accepts(self, need: Need) -> bool {
        match self {
            Self::PciRoot => {
                matches!(need, Need::Pci | Need::Integrated | Need::Bridge(Self::PciBridge | Self::Expander))
            }
            Self::PciBridge | Self::PcieToPciBridge | Self::Expander => {
                matches!(need, Need::Pci | Need::Bridge(Self::PciBridge))
            }
            Self::DmiToPciBridge => matches!(need, Need::Bridge(Self::PciBridge)),
            Self::PcieRoot => matches!(
                need,
                Need::Integrated | Need::Bridge(Self::RootPort | Self::DmiToPciBridge | Self::PcieExpander)
            ),
            Self::RootPort | Self::SwitchDownstream => {
                matches!(need, Need::Pcie | Need::Bridge(Self::SwitchUpstream | Self::PcieToPciBridge))
            }
            Self::SwitchUpstream => matches!(need, Need::Bridge(Self::SwitchDownstream)),
            Self::PcieExpander => matches!(need, Need::Bridge(Self::RootPort)),
        }
    }
}

/// A slot: its taken functions, and whether they are root ports that may share it.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    functions: u8,
    shared: bool,
}

/// A bus with its slots.
#[derive(Debug, Clone)]
struct Bus {
    kind: BusKind,
    slots: [Slot; 32],
}

/// Bus, slot and function in domain 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) bus: u8,
    pub(super) slot: u8,
    pub(super) function: u8,
}

/// All buses of a machine.
#[derive(Debug, Clone)]
pub(super) struct Buses {
    buses: Vec<Bus>,
    /// Buses may be added: it is only found out what is needed.
    dry: bool,
}

/// Most buses: a bus number is one byte.
const BUSES_MAX: usize = 256;

impl Buses {
    /// Buses of the given kinds; the first is the root.
    pub(super) fn new(kinds: &[BusKind], dry: bool) -> Self {
        let buses = kinds.iter().map(|kind| Bus { kind: *kind, slots: [Slot::default(); 32] }).collect();
        Self { buses, dry }
    }

    /// The kinds of all buses.
    pub(super) fn kinds(&self) -> Vec<BusKind> {
        self.buses.iter().map(|bus| bus.kind).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.buses.len()
    }

    fn is_express(&self) -> bool {
        self.buses.first().is_some_and(|bus| bus.kind == BusKind::PcieRoot)
    }

    /// Takes a spot that somebody chose. In a dry run its bus is added if it is not there.
    pub(super) fn take(&mut self, spot: Spot, need: Need) {
        if self.dry {
            self.extend_to(spot.bus, need);
        }
        let Some(slot) = self.slot_mut(spot) else { return };
        if slot.functions == 0 && need == Need::Bridge(BusKind::RootPort) {
            slot.shared = true;
        }
        slot.functions |= 1_u8.checked_shl(spot.function.into()).unwrap_or_default();
    }

    /// Adds the buses up to one that a document names: ports, or for a conventional device bridges behind one.
    fn extend_to(&mut self, bus: u8, need: Need) {
        while self.buses.len() <= usize::from(bus) {
            let missing = usize::from(bus) + 1 - self.buses.len();
            let bridged = self.buses.iter().any(|bus| bus.kind.accepts(Need::Pci));
            let added = match need {
                Need::Pci if !bridged && missing > 1 => self.add_bridge_on_port(),
                Need::Pci if !bridged => self.add(BusKind::PcieToPciBridge),
                Need::Pci => self.add(BusKind::PciBridge),
                _ if self.is_express() => self.add(BusKind::RootPort),
                _ => self.add(BusKind::PciBridge),
            };
            if added.is_none() {
                return;
            }
        }
    }

    /// Adds a bridge to conventional PCI with the root port that it sits on.
    fn add_bridge_on_port(&mut self) -> Option<u8> {
        let port = self.add(BusKind::RootPort)?;
        self.take(Spot { bus: port, slot: 0, function: 0 }, Need::Bridge(BusKind::PcieToPciBridge));
        self.add(BusKind::PcieToPciBridge)
    }

    /// Takes all functions of a slot.
    pub(super) fn take_slot(&mut self, bus: u8, slot: u8) {
        for function in 0..8 {
            self.take(Spot { bus, slot, function }, Need::Integrated);
        }
    }

    fn slot_mut(&mut self, spot: Spot) -> Option<&mut Slot> {
        self.buses.get_mut(usize::from(spot.bus))?.slots.get_mut(usize::from(spot.slot))
    }

    /// The taken functions of a slot.
    pub(super) fn functions(&self, bus: u8, slot: u8) -> u8 {
        let bus = self.buses.get(usize::from(bus));
        bus.and_then(|bus| bus.slots.get(usize::from(slot))).map_or(0, |slot| slot.functions)
    }

    /// Whether one function is taken.
    pub(super) fn is_taken(&self, spot: Spot) -> bool {
        self.functions(spot.bus, spot.slot) & (1_u8.checked_shl(spot.function.into()).unwrap_or_default())
            != 0
    }

    /// Whether a root-type bus still has a slot.
    pub(super) fn has_free_slot(&self) -> bool {
        self.buses.iter().any(|bus| {
            let (first, last) = bus.kind.slots();
            (first..=last).any(|slot| bus.slots[usize::from(slot)].functions == 0)
        })
    }

    /// Finds a spot and takes it.
    pub(super) fn next(&mut self, need: Need) -> Option<Spot> {
        let found = self.find(need).or_else(|| if self.dry { self.grow(need) } else { None })?;
        self.take(found, need);
        Some(found)
    }

    /// Finds a whole free slot without taking it.
    pub(super) fn find(&self, need: Need) -> Option<Spot> {
        let shares = need == Need::Bridge(BusKind::RootPort);
        for (bus, number) in self.buses.iter().zip(0..=u8::MAX).filter(|(bus, _)| bus.kind.accepts(need)) {
            let (first, last) = bus.kind.slots();
            for slot in first..=last {
                let Slot { functions, shared } = bus.slots[usize::from(slot)];
                if functions == 0 {
                    return Some(Spot { bus: number, slot, function: 0 });
                }
                if shares && shared && functions != u8::MAX {
                    let function = u8::try_from(functions.trailing_ones()).ok()?;
                    return Some(Spot { bus: number, slot, function });
                }
            }
        }
        None
    }

    fn add(&mut self, kind: BusKind) -> Option<u8> {
        if self.buses.len() >= BUSES_MAX {
            return None;
        }
        self.buses.push(Bus { kind, slots: [Slot::default(); 32] });
        u8::try_from(self.buses.len() - 1).ok()
    }

    /// Adds the bus that a device needs; a conventional one on PCI Express sits on a root port of its own.
    fn grow(&mut self, need: Need) -> Option<Spot> {
        match need {
            Need::Pci if self.is_express() => {
                let bus = self.add_bridge_on_port()?;
                Some(Spot { bus, slot: 1, function: 0 })
            }
            Need::Pci => {
                let bus = self.add(BusKind::PciBridge)?;
                Some(Spot { bus, slot: 1, function: 0 })
            }
            Need::Pcie | Need::Bridge(BusKind::PcieToPciBridge | BusKind::SwitchUpstream)
                if self.is_express() =>
            {
                let bus = self.add(BusKind::RootPort)?;
                Some(Spot { bus, slot: 0, function: 0 })
            }
            Need::Bridge(BusKind::PciBridge) if self.is_express() => {
                let bus = self.add(BusKind::DmiToPciBridge)?;
                Some(Spot { bus, slot: 0, function: 0 })
            }
            Need::Pcie | Need::Integrated | Need::Bridge(_) => None,
        }
    }
}
