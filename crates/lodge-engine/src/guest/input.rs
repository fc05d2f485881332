//! Keys pressed for somebody who has no keyboard, and the button that interrupts.

use lodge_domain::control::{Refusal, Sort};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::{Guest, Look};

/// libvirt's words for its sets of key codes, by number.
const SETS: [&str; 10] =
    ["linux", "xt", "atset1", "atset2", "atset3", "os_x", "xt_kbd", "usb", "win32", "qnum"];

/// Linux's codes from 96 on whose number QEMU has otherwise (input-event-codes.h; QEMU's `qnum` is the PC's scan code,
/// with 0x80 for those that the keyboard sends after 0xe0). Below 96 both are the scan code.
const LINUX: [(u32, u32); 66] = [
    (89, 0x73),
    (90, 0x78),
    (91, 0x77),
    (92, 0x79),
    (93, 0x70),
    (94, 0x7b),
    (95, 0x5c),
    (96, 0x9c),
    (97, 0x9d),
    (98, 0xb5),
    (99, 0x54),
    (100, 0xb8),
    (101, 0x5b),
    (102, 0xc7),
    (103, 0xc8),
    (104, 0xc9),
    (105, 0xcb),
    (106, 0xcd),
    (107, 0xcf),
    (108, 0xd0),
    (109, 0xd1),
    (110, 0xd2),
    (111, 0xd3),
    (112, 0xef),
    (113, 0xa0),
    (114, 0xae),
    (115, 0xb0),
    (116, 0xde),
    (117, 0x59),
    (118, 0xce),
    (119, 0xc6),
    (120, 0x8b),
    (121, 0x7e),
    (124, 0x7d),
    (125, 0xdb),
    (126, 0xdc),
    (127, 0xdd),
    (128, 0xe8),
    (129, 0x85),
    (130, 0x86),
    (131, 0x87),
    (132, 0x8c),
    (133, 0xf8),
    (134, 0x64),
    (135, 0x65),
    (136, 0xc1),
    (137, 0xbc),
    (138, 0xf5),
    (139, 0x9e),
    (140, 0xa1),
    (142, 0xdf),
    (143, 0xe3),
    (183, 0x5d),
    (184, 0x5e),
    (185, 0x5f),
    (186, 0x55),
    (187, 0x83),
    (188, 0xf7),
    (189, 0x84),
    (190, 0x5a),
    (191, 0x74),
    (192, 0xf9),
    (193, 0x6d),
    (194, 0x6f),
    (210, 0xb7),
    (217, 0xe5),
];

/// Linux's codes of the USB keyboard page from 4 on (HID Usage Tables, page 7).
const USB: [u32; 132] = [
    30, 48, 46, 32, 18, 33, 34, 35, 23, 36, 37, 38, 50, 49, 24, 25, 16, 19, 31, 20, 22, 47, 17, 45, 21, 44,
    2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 28, 1, 14, 15, 57, 12, 13, 26, 27, 43, 43, 39, 40, 41, 51, 52, 53, 58,
    59, 60, 61, 62, 63, 64, 65, 66, 67, 68, 87, 88, 99, 70, 119, 110, 102, 104, 111, 107, 109, 106, 105, 108,
    103, 69, 98, 55, 74, 78, 96, 79, 80, 81, 75, 76, 77, 71, 72, 73, 82, 83, 86, 127, 116, 117, 183, 184,
    185, 186, 187, 188, 189, 190, 191, 192, 193, 194, 134, 138, 130, 132, 128, 129, 131, 137, 133, 135, 136,
    113, 115, 114, 0, 0, 0, 121, 0, 89,
];
/// The same from 224 on: the modifiers.
const USB_MODIFIERS: [u32; 8] = [29, 42, 56, 125, 97, 54, 100, 126];

fn of_linux(code: u32) -> Option<u32> {
    match code {
        1..=83 | 85..=88 => Some(code),
        _ => LINUX.iter().find(|(linux, _)| *linux == code).map(|(_, qnum)| *qnum),
    }
}

fn of_usb(code: u32) -> Option<u32> {
    let linux = match code {
        4..=135 => *USB.get(code as usize - 4)?,
        224..=231 => *USB_MODIFIERS.get(code as usize - 224)?,
        _ => return None,
    };
    of_linux(linux)
}

/// A PC's scan code as it is sent: one byte, or two with 0xe0 before.
fn of_scan_code(code: u32) -> Option<u32> {
    match code {
        1..=0x7f => Some(code),
        0xe001..=0xe07f => Some(code & 0x7f | 0x80),
        _ => None,
    }
}

/// QEMU's numbers of the keys.
pub(crate) fn translate(set: u32, codes: &[u32]) -> Look<Vec<u32>> {
    let name = SETS.get(set as usize).copied();
    let name = name.ok_or_else(|| {
        Refusal::new(Sort::InvalidArgBare, format!("Unsupported codeset '{set}'")).of_domain()
    })?;
    let one = |code: &u32| {
        let number = match name {
            "linux" => of_linux(*code),
            "xt" | "atset1" => of_scan_code(*code),
            "usb" => of_usb(*code),
            "qnum" => (1..=0xff).contains(code).then_some(*code),
            _ => {
                let text = format!(
                    "keycodes of the codeset {name} are not supported yet; linux, xt, atset1, usb and qnum are"
                );
                return Err(Refusal::unsupported(text));
            }
        };
        number.ok_or_else(|| {
            Refusal::internal(format!("cannot translate keycode {code} of {name} codeset to qnum keycode"))
        })
    };
    codes.iter().map(one).collect()
}

impl Guest {
    /// Presses keys together, and lets them go after `hold_ms`.
    #[crate::boxed]
    pub async fn send_keys(&self, set: u32, codes: &[u32], hold_ms: u32) -> Look<()> {
        let keys = translate(set, codes)?;
        let keys: Vec<Value> = keys.into_iter().map(|key| json!({ "type": "number", "data": key })).collect();
        let mut arguments = json!({ "keys": keys });
        if hold_ms > 0 {
            arguments["hold-time"] = json!(hold_ms);
        }
        self.ask::<IgnoredAny>("send-key", arguments).await.map(drop)
    }

    /// Begins to measure how fast the guest writes its memory; the figures tell when it is done.
    #[crate::boxed]
    pub async fn measure_dirty_rate(&self, seconds: u32, mode: &str) -> Look<()> {
        let arguments = json!({ "calc-time": seconds, "mode": mode });
        self.ask::<IgnoredAny>("calc-dirty-rate", arguments).await.map(drop)
    }

    /// VNC's certificates are read anew; connections stay.
    #[crate::boxed]
    pub async fn reload_screen_certificates(&self) -> Look<()> {
        let arguments = json!({ "type": "vnc", "tls-certs": true });
        self.ask::<serde::de::IgnoredAny>("display-reload", arguments).await.map(drop)
    }

    /// Interrupts the guest as a hardware fault would.
    #[crate::boxed]
    pub async fn inject_nmi(&self) -> Look<()> {
        self.monitor()?.inject_nmi().await.map_err(Refusal::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_all_sets_meet() {
        // Enter, right control, delete.
        for (set, codes) in
            [(0, [28, 97, 111]), (1, [0x1c, 0xe01d, 0xe053]), (7, [40, 228, 76]), (9, [0x1c, 0x9d, 0xd3])]
        {
            assert_eq!(translate(set, &codes).unwrap(), [0x1c, 0x9d, 0xd3], "{}", SETS[set as usize]);
        }
        let refused = |set, code| translate(set, &[code]).unwrap_err().text;
        assert_eq!(refused(0, 9999), "cannot translate keycode 9999 of linux codeset to qnum keycode");
        assert_eq!(refused(99, 1), "Unsupported codeset '99'");
        assert!(refused(8, 1).contains("win32"));
    }
}
