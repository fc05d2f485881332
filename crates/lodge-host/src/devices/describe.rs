//! A device's document.

use std::path::Path;

use lodge_model::markup::Markup;

use super::find::udev;
use super::{Device, Sort, text};

impl Device {
    /// The document of it, under the file system `root`.
    pub fn to_xml(&self, root: &Path) -> String {
        let mut xml = Markup::new();
        xml.start("device", &[]);
        xml.leaf("name", &[], &self.name);
        if self.sort != Sort::Computer {
            let path = self.path.strip_prefix(root).unwrap_or(&self.path);
            xml.leaf("path", &[], Path::new("/").join(path).display());
        }
        if self.sort == Sort::Block {
            xml.leaf("devnode", &[("type", &"dev")], format!("/dev/{}", self.file()));
        }
        if let Some(parent) = &self.parent {
            xml.leaf("parent", &[], parent);
        }
        if let Some(driver) = self.driver() {
            xml.start("driver", &[]);
            xml.leaf("name", &[], driver);
            xml.end();
        }
        xml.start("capability", &[("type", &self.sort.words().first().copied().unwrap_or_default())]);
        match self.sort {
            Sort::Computer => computer(&mut xml, root),
            Sort::Pci => self.pci(&mut xml, root),
            Sort::Net => self.net(&mut xml),
            Sort::Block => self.block(&mut xml, root),
            Sort::ScsiHost => self.scsi_host(&mut xml),
            Sort::Scsi => self.scsi(&mut xml),
        }
        xml.finish()
    }

    /// The last part of its path.
    fn file(&self) -> String {
        self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    fn driver(&self) -> Option<String> {
        let link = std::fs::read_link(self.path.join("driver")).ok()?;
        link.file_name().map(|name| name.to_string_lossy().into_owned())
    }

    fn own(&self, file: &str) -> Option<String> {
        text(&self.path.join(file))
    }

    fn pci(&self, xml: &mut Markup, root: &Path) {
        let file = self.file();
        let Some([domain, bus, slot, function]) = address(&file) else { return };
        if let Some(class) = self.own("class") {
            xml.leaf("class", &[], class);
        }
        for (name, number) in [("domain", domain), ("bus", bus), ("slot", slot), ("function", function)] {
            xml.leaf(name, &[], number);
        }
        let (vendor, product) =
            (self.own("vendor").unwrap_or_default(), self.own("device").unwrap_or_default());
        let (vendor_name, product_name) = pci_names(root, &vendor, &product);
        named(xml, "product", &product, product_name);
        named(xml, "vendor", &vendor, vendor_name);
        self.functions(xml);
        if let Ok(group) = std::fs::canonicalize(self.path.join("iommu_group")) {
            let number =
                group.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            xml.start("iommuGroup", &[("number", &number)]);
            let mut members: Vec<String> = std::fs::read_dir(group.join("devices"))
                .into_iter()
                .flatten()
                .flatten()
                .filter_map(|entry| entry.file_name().into_string().ok())
                .collect();
            members.sort();
            for member in &members {
                located(xml, member);
            }
            xml.end();
        }
        if let Some(node) = self.own("numa_node").and_then(|node| node.parse::<u32>().ok()) {
            xml.empty("numa", &[("node", &node)]);
        }
    }

    /// SR-IOV: the card of a virtual function, and the virtual functions of a card; and whether it is a bridge.
    fn functions(&self, xml: &mut Markup) {
        let link = |name: &str| {
            let to = std::fs::read_link(self.path.join(name)).ok()?;
            to.file_name()?.to_str().map(str::to_owned)
        };
        if let Some(card) = link("physfn") {
            xml.start("capability", &[("type", &"phys_function")]);
            located(xml, &card);
            xml.end();
        }
        let functions: Vec<String> = (0..).map_while(|number| link(&format!("virtfn{number}"))).collect();
        let most =
            self.own("sriov_totalvfs").and_then(|most| most.parse::<u32>().ok()).filter(|most| *most > 0);
        match most {
            Some(most) if functions.is_empty() => {
                xml.empty("capability", &[("type", &"virt_functions"), ("maxCount", &most)]);
            }
            _ if functions.is_empty() => {}
            _ => {
                match most {
                    Some(most) => {
                        xml.start("capability", &[("type", &"virt_functions"), ("maxCount", &most)]);
                    }
                    None => xml.start("capability", &[("type", &"virt_functions")]),
                }
                for function in &functions {
                    located(xml, function);
                }
                xml.end();
            }
        }
        // The type in the header of its configuration space (PCI Local Bus Specification, 6.1).
        let header = std::fs::read(self.path.join("config")).ok();
        let kind = match header.and_then(|bytes| bytes.get(0x0e).map(|kind| kind & 0x7f)) {
            Some(1) => "pci-bridge",
            Some(2) => "cardbus-bridge",
            _ => return,
        };
        xml.empty("capability", &[("type", &kind)]);
    }

    fn net(&self, xml: &mut Markup) {
        xml.leaf("interface", &[], self.file());
        if let Some(address) = self.own("address") {
            xml.leaf("address", &[], address);
        }
        let state = self.own("operstate").unwrap_or_else(|| "unknown".to_owned());
        // A speed nobody knows is -1, which libvirt tells as the 32 bits it is.
        let speed = self.own("speed").and_then(|speed| speed.parse::<i64>().ok()).filter(|_| state == "up");
        match speed.map(|speed| u32::try_from(speed & 0xffff_ffff).unwrap_or_default()) {
            Some(speed) => xml.empty("link", &[("speed", &speed), ("state", &state)]),
            None => xml.empty("link", &[("state", &state)]),
        }
        xml.empty("capability", &[("type", &"80203")]);
    }

    fn block(&self, xml: &mut Markup, root: &Path) {
        let file = self.file();
        let known = udev(root, &self.path);
        xml.leaf("block", &[], format!("/dev/{file}"));
        if let Some(bus) = known.get("ID_BUS") {
            xml.leaf("bus", &[], bus);
        }
        let by_name = match file.get(..2) {
            Some("sr") => "cdrom",
            Some("fd") => "floppy",
            _ => "disk",
        };
        let kind = known.get("ID_TYPE").map_or(by_name, |kind| if kind == "cd" { "cdrom" } else { kind });
        xml.leaf("drive_type", &[], kind);
        if let Some(model) = self.own("device/model") {
            xml.leaf("model", &[], model);
        }
        if let Some(vendor) = self.own("device/vendor") {
            xml.leaf("vendor", &[], vendor);
        }
        if let Some(serial) = known.get("ID_SERIAL") {
            xml.leaf("serial", &[], serial);
        }
        /// `size` counts in these, whatever the disk's own blocks are (Documentation/block/stat.rst).
        const SECTOR_BYTES: u64 = 512;
        let number = |file: &str| self.own(file).and_then(|text| text.parse::<u64>().ok());
        let size = number("size").unwrap_or_default().saturating_mul(SECTOR_BYTES);
        let block = number("queue/logical_block_size").filter(|block| *block > 0).unwrap_or(SECTOR_BYTES);
        let figures = |xml: &mut Markup, names: [&str; 3]| {
            xml.leaf(names[0], &[], size);
            xml.leaf(names[1], &[], block);
            xml.leaf(names[2], &[], size / block);
        };
        if number("removable") == Some(1) {
            xml.start("capability", &[("type", &"removable")]);
            xml.leaf("media_available", &[], u8::from(size > 0));
            figures(xml, ["media_size", "logical_block_size", "num_blocks"]);
            xml.end();
        } else {
            figures(xml, ["size", "logical_block_size", "num_blocks"]);
        }
    }

    fn scsi_host(&self, xml: &mut Markup) {
        let file = self.file();
        xml.leaf("host", &[], file.trim_start_matches("host"));
        if let Some(id) = self.own(&format!("scsi_host/{file}/unique_id")) {
            xml.leaf("unique_id", &[], id);
        }
    }

    fn scsi(&self, xml: &mut Markup) {
        for (name, number) in ["host", "bus", "target", "lun"].iter().zip(self.file().split(':')) {
            xml.leaf(name, &[], number);
        }
        // SPC-4, peripheral device type.
        let kind = match self.own("type").as_deref() {
            Some("0") => "disk",
            Some("1") => "tape",
            Some("2") => "printer",
            Some("3") => "processor",
            Some("4") => "worm",
            Some("5") => "cdrom",
            Some("6") => "scanner",
            Some("7") => "optical",
            Some("8") => "changer",
            Some("9") => "communications",
            Some("12") => "raid",
            _ => return,
        };
        xml.leaf("type", &[], kind);
    }
}

/// A function by its name in sysfs.
fn located(xml: &mut Markup, name: &str) {
    let Some([domain, bus, slot, function]) = address(name) else { return };
    xml.empty(
        "address",
        &[
            ("domain", &format!("0x{domain:04x}")),
            ("bus", &format!("0x{bus:02x}")),
            ("slot", &format!("0x{slot:02x}")),
            ("function", &format!("0x{function:x}")),
        ],
    );
}

/// `0000:00:02.0`
fn address(text: &str) -> Option<[u32; 4]> {
    let (rest, function) = text.split_once('.')?;
    let mut parts = rest.split(':');
    let mut hex = || u32::from_str_radix(parts.next()?, 16).ok();
    Some([hex()?, hex()?, hex()?, u32::from_str_radix(function, 16).ok()?])
}

fn named(xml: &mut Markup, element: &str, id: &str, name: Option<String>) {
    match name {
        Some(name) => xml.leaf(element, &[("id", &id)], name),
        None => xml.empty(element, &[("id", &id)]),
    }
}

/// Names of a maker and its product in the list that hosts may have (pci.ids(5)).
fn pci_names(root: &Path, vendor: &str, product: &str) -> (Option<String>, Option<String>) {
    let files = ["usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids"];
    let Some(list) = files.iter().find_map(|file| std::fs::read(root.join(file)).ok()) else {
        return (None, None);
    };
    let list = String::from_utf8_lossy(&list);
    let (vendor, product) = (vendor.trim_start_matches("0x"), product.trim_start_matches("0x"));
    let mut maker = None;
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix('\t') {
            None if maker.is_some() => break,
            None => maker = line.strip_prefix(vendor).and_then(|rest| rest.strip_prefix("  ")),
            Some(line) if maker.is_some() => {
                if let Some(name) = line.strip_prefix(product).and_then(|rest| rest.strip_prefix("  ")) {
                    return (maker.map(str::to_owned), Some(name.to_owned()));
                }
            }
            Some(_) => {}
        }
    }
    (maker.map(str::to_owned), None)
}

fn computer(xml: &mut Markup, root: &Path) {
    let own = |file: &str| text(&root.join("sys/class/dmi/id").join(file));
    if let Some(product) = own("product_name") {
        xml.leaf("product", &[], product);
    }
    xml.start("hardware", &[]);
    for (name, file) in
        [("vendor", "sys_vendor"), ("version", "product_version"), ("serial", "product_serial")]
    {
        if let Some(value) = own(file) {
            xml.leaf(name, &[], value);
        }
    }
    let uuid = own("product_uuid").unwrap_or_else(|| uuid::Uuid::nil().to_string());
    xml.leaf("uuid", &[], uuid.to_ascii_lowercase());
    xml.end();
    xml.start("firmware", &[]);
    for (name, file) in
        [("vendor", "bios_vendor"), ("version", "bios_version"), ("release_date", "bios_date")]
    {
        if let Some(value) = own(file) {
            xml.leaf(name, &[], value);
        }
    }
    xml.end();
}
