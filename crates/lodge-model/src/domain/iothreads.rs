//! `<iothreads>`, `<iothreadids>`, `<defaultiothread>`: which I/O threads a guest has, and how each polls.

use super::Domain;
use crate::xml::Kept;

/// One I/O thread. What is not said is QEMU's matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Iothread {
    /// Its number.
    pub number: u32,
    /// Longest time it polls, in nanoseconds.
    pub poll_max_ns: Option<u64>,
    /// By what polling grows.
    pub poll_grow: Option<u64>,
    /// By what it shrinks.
    pub poll_shrink: Option<u64>,
    /// Least and most threads of its pool.
    pub pool: Pool,
}

/// How many threads a pool has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pool {
    /// At least.
    pub least: Option<u32>,
    /// At most.
    pub most: Option<u32>,
}

impl Pool {
    fn of(element: &Kept) -> Self {
        Self { least: number(element, "thread_pool_min"), most: number(element, "thread_pool_max") }
    }
}

fn number<N: std::str::FromStr>(element: &Kept, name: &str) -> Option<N> {
    element.attribute(name)?.parse().ok()
}

impl Domain {
    /// The I/O threads: those listed, then the lowest free numbers.
    pub fn iothreads(&self) -> Vec<Iothread> {
        let list = self.iothreadids.tree("iothreadids").unwrap_or_default();
        let listed = list.all("iothread").filter_map(|item| {
            let poll = item.child("poll");
            let poll = |name| poll.and_then(|poll| number(poll, name));
            Some(Iothread {
                number: number(item, "id")?,
                poll_max_ns: poll("max"),
                poll_grow: poll("grow"),
                poll_shrink: poll("shrink"),
                pool: Pool::of(item),
            })
        });
        let mut threads: Vec<Iothread> = listed.collect();
        // A bound of ours: libvirt's is the number's own.
        let count = self.iothreads.unwrap_or(0).min(4096) as usize;
        for number in 1.. {
            if threads.len() >= count {
                break;
            }
            if !threads.iter().any(|thread| thread.number == number) {
                threads.push(Iothread { number, ..Iothread::default() });
            }
        }
        threads
    }

    /// The pool of QEMU's own loop.
    pub fn main_loop_pool(&self) -> Pool {
        self.default_iothread.tree("defaultiothread").as_ref().map(Pool::of).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::Domain;

    #[test]
    fn listed_threads_come_first_and_the_rest_take_what_is_free() {
        let xml = "<domain type='qemu'><name>a</name><memory>1</memory><iothreads>3</iothreads>\
                   <iothreadids><iothread id='2' thread_pool_max='8'><poll max='10' grow='2'/></iothread>\
                   <iothread id='9'/></iothreadids><defaultiothread thread_pool_min='4'/>\
                   <os><type>hvm</type></os></domain>";
        let domain = Domain::parse(xml).unwrap();
        let threads = domain.iothreads();
        assert_eq!(threads.iter().map(|thread| thread.number).collect::<Vec<_>>(), [2, 9, 1]);
        assert_eq!(
            (threads[0].poll_max_ns, threads[0].poll_grow, threads[0].poll_shrink),
            (Some(10), Some(2), None)
        );
        assert_eq!((threads[0].pool.most, threads[0].pool.least), (Some(8), None));
        assert_eq!(domain.main_loop_pool().least, Some(4));
    }
}
