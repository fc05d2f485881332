//! Sets of the host's processors, and of its memory cells, as documents and calls name them.

/// The highest number that libvirt reads (VIR_DOMAIN_CPUMASK_LEN).
const HIGHEST: u32 = 16_383;

/// A set of the host's processors (or cells), in libvirt's text: `0-3,6`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Processors(Vec<u32>);

impl Processors {
    /// Out of a map of bits, the lowest first (`virDomainPinVcpu`).
    pub fn of_map(map: &[u8]) -> Self {
        let bits = map.iter().enumerate().flat_map(|(at, byte)| {
            (0..8).filter(move |bit| byte & (1 << bit) != 0).map(move |bit| at * 8 + bit)
        });
        Self(bits.filter_map(|bit| u32::try_from(bit).ok()).collect())
    }

    /// Of these numbers.
    pub fn of(numbers: &[u32]) -> Self {
        let set: std::collections::BTreeSet<u32> = numbers.iter().copied().collect();
        Self(set.into_iter().collect())
    }

    /// Out of libvirt's text (`0-3,^2`).
    pub fn parse(text: &str) -> Option<Self> {
        let mut set = std::collections::BTreeSet::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (out, part) = part.strip_prefix('^').map_or((false, part), |rest| (true, rest));
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let (from, to): (u32, u32) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
            if to < from || to > HIGHEST {
                return None;
            }
            for number in from..=to {
                if out {
                    set.remove(&number)
                } else {
                    set.insert(number)
                };
            }
        }
        Some(Self(set.into_iter().collect()))
    }

    /// The first `count` of a host.
    pub fn all(count: u32) -> Self {
        Self((0..count).collect())
    }

    /// The numbers, ascending.
    pub fn numbers(&self) -> &[u32] {
        &self.0
    }

    /// As a map of `length` bytes.
    pub fn to_map(&self, length: usize) -> Vec<u8> {
        let mut map = vec![0u8; length];
        for number in &self.0 {
            if let Some(byte) = map.get_mut(*number as usize / 8) {
                *byte |= 1 << (number % 8);
            }
        }
        map
    }
}

impl std::fmt::Display for Processors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut at = 0;
        let mut gap = "";
        while let Some(&first) = self.0.get(at) {
            let length =
                self.0[at..].iter().zip(first..).take_while(|(number, want)| *number == want).count();
            let last = self.0[at + length - 1];
            match length {
                1 => write!(f, "{gap}{first}")?,
                _ => write!(f, "{gap}{first}-{last}")?,
            }
            gap = ",";
            at += length;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_written_as_libvirt_writes_them() {
        for (text, again) in
            [("0-3,^2", "0-1,3"), ("5", "5"), ("", ""), ("1,0,2", "0-2"), ("0,2,4-6", "0,2,4-6")]
        {
            assert_eq!(Processors::parse(text).unwrap().to_string(), again, "{text}");
        }
        assert_eq!(Processors::parse("3-1"), None);
        assert_eq!(Processors::parse("a"), None);
        assert_eq!(Processors::of_map(&[0b101, 1]).to_string(), "0,2,8");
        assert_eq!(Processors::parse("0,9").unwrap().to_map(2), [1, 2]);
    }
}
