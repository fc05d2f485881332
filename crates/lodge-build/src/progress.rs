//! How far a build has come: named phases, each with its share of the whole.

use std::fmt;

/// What a build is doing. In this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Tools are looked for and the work directory is made.
    Preparing,
    /// apt fetches the lists and the packages.
    Downloading,
    /// dpkg unpacks and configures them.
    Installing,
    /// The guest's configuration is written, its identity removed and that verified.
    Dressing,
    /// The boot loader's images are made.
    BootLoader,
    /// Partitions and file systems are written.
    Disk,
    /// The disk becomes a sparse qcow2.
    Converting,
    /// The result is proven to be nobody, summed and moved to its place.
    Finishing,
}

impl Phase {
    /// Where the phase begins and ends on the way from 0 to 1; measured on two processors.
    fn span(self) -> (f32, f32) {
        match self {
            Self::Preparing => (0.0, 0.01),
            Self::Downloading => (0.01, 0.25),
            Self::Installing => (0.25, 0.80),
            Self::Dressing => (0.80, 0.81),
            Self::BootLoader => (0.81, 0.82),
            Self::Disk => (0.82, 0.90),
            Self::Converting => (0.90, 0.96),
            Self::Finishing => (0.96, 1.0),
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Preparing => "preparing",
            Self::Downloading => "fetching packages",
            Self::Installing => "installing packages",
            Self::Dressing => "configuring the guest",
            Self::BootLoader => "making the boot loader",
            Self::Disk => "writing the disk",
            Self::Converting => "converting to qcow2",
            Self::Finishing => "finishing",
        })
    }
}

/// One step of progress, as given to the caller of a build.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Of the whole build, 0 to 1.
    pub fraction: f32,
}

impl Progress {
    /// The point `part` (0 to 1) of the way through `phase`.
    pub(crate) fn within(phase: Phase, part: f32) -> Self {
        let (from, to) = phase.span();
        Self { phase, fraction: from + (to - from) * part.clamp(0.0, 1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_join_without_gaps() {
        use Phase::*;
        let all = [Preparing, Downloading, Installing, Dressing, BootLoader, Disk, Converting, Finishing];
        for pair in all.windows(2) {
            let (end, start) = (pair[0].span().1, pair[1].span().0);
            assert!((end - start).abs() < f32::EPSILON, "{pair:?}");
        }
        assert!((Finishing.span().1 - 1.0).abs() < f32::EPSILON);
    }
}
