//! Where a chunk of a software RAID lies whose data do not simply take turns: parity (raid4, 5, 6) and several copies
//! (raid10). Which algorithm is which number: the kernel's drivers/md/raid5.h and Documentation/admin-guide/md.rst, md(4).
//!
//! Only reading, and only with all members: what is computed from parity is not, and of several copies the first is read.

/// How an array lays its chunks out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `parity` members of each row hold no data: which ones, says `order`.
    Parity {
        /// 1 or 2, fewer than the members.
        parity: u32,
        /// The way.
        order: Order,
    },
    /// Each chunk lies on several members.
    Copies {
        /// Copies beside each other; from 1.
        near: u32,
        /// Rows that all copies of one row take, where they lie one below the other (`offset`); else 1.
        rows: u32,
    },
}

/// Which members hold parity, and where data begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Parity goes from the last member to the first; data begin at the first.
    LeftAsymmetric,
    /// Parity goes from the first member to the last; data begin at the first.
    RightAsymmetric,
    /// As the left one; data begin behind parity.
    LeftSymmetric,
    /// As the right one; data begin behind parity.
    RightSymmetric,
    /// The first members.
    First,
    /// The last members.
    Last,
}

impl Order {
    /// The algorithm of this number, as md knows it; none: one that is not read here.
    pub fn of(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::LeftAsymmetric,
            1 => Self::RightAsymmetric,
            2 => Self::LeftSymmetric,
            3 => Self::RightSymmetric,
            4 => Self::First,
            5 => Self::Last,
            _ => return None,
        })
    }
}

impl Shape {
    /// Whether so many members can be laid out so.
    pub fn fits(self, members: u64) -> bool {
        match self {
            Self::Parity { parity, .. } => parity > 0 && u64::from(parity) < members,
            Self::Copies { near, rows } => near > 0 && rows > 0 && u64::from(near) <= members,
        }
    }

    /// How many members' worth of data there is in so many members' rows of one chunk.
    pub fn chunks(self, members: u64, rows_each: u64) -> Option<u64> {
        match self {
            Self::Parity { parity, .. } => rows_each.checked_mul(members - u64::from(parity)),
            Self::Copies { near, rows } => {
                (rows_each / u64::from(rows)).checked_mul(members).map(|all| all / u64::from(near))
            }
        }
    }

    /// The member, and the row on it, of a chunk of the array's. It [fits](Self::fits).
    pub fn place(self, chunk: u64, members: u64) -> (u64, u64) {
        match self {
            Self::Parity { parity, order } => {
                let parity = u64::from(parity);
                let data = members - parity;
                let (row, at) = (chunk / data, chunk % data);
                (member(order, (members, parity), row, at), row)
            }
            Self::Copies { near, rows } => {
                let first = u128::from(chunk) * u128::from(near);
                let members = u128::from(members);
                let narrow = |number: u128| u64::try_from(number).unwrap_or(u64::MAX);
                (narrow(first % members), narrow(first / members * u128::from(rows)))
            }
        }
    }
}

fn member(order: Order, (members, parity): (u64, u64), row: u64, at: u64) -> u64 {
    // The first of the row's members that hold parity; the second one follows it, around the end.
    let first = match order {
        Order::LeftAsymmetric | Order::LeftSymmetric => members - 1 - row % members,
        Order::RightAsymmetric | Order::RightSymmetric => row % members,
        Order::First => 0,
        Order::Last => members - parity,
    };
    match order {
        Order::LeftSymmetric | Order::RightSymmetric => (first + parity + at) % members,
        Order::First => parity + at,
        Order::Last => at,
        // Data take the members in order, those with parity left out.
        Order::LeftAsymmetric | Order::RightAsymmetric => {
            let around = (first + parity).saturating_sub(members);
            let at = at + around;
            if at >= first { at + parity - around } else { at }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of members: which chunk each holds, `.` for none of the data's.
    fn drawn(shape: Shape, members: u64, rows: u64) -> String {
        let mut table =
            vec![vec![".".to_owned(); usize::try_from(members).unwrap()]; usize::try_from(rows).unwrap()];
        let chunks = shape.chunks(members, rows).unwrap();
        for chunk in 0..chunks {
            let (member, row) = shape.place(chunk, members);
            let cell = &mut table[usize::try_from(row).unwrap()][usize::try_from(member).unwrap()];
            assert_eq!(cell, ".", "two chunks at one place");
            *cell = chunk.to_string();
        }
        table.iter().map(|row| row.join(" ")).collect::<Vec<_>>().join(" / ")
    }

    /// The tables of md(4) and of the kernel's comments.
    #[test]
    fn chunks_lie_where_md_puts_them() {
        let of = |parity, order| Shape::Parity { parity, order };
        let one = |order| drawn(of(1, order), 4, 4);
        assert_eq!(one(Order::LeftAsymmetric), "0 1 2 . / 3 4 . 5 / 6 . 7 8 / . 9 10 11");
        assert_eq!(one(Order::RightAsymmetric), ". 0 1 2 / 3 . 4 5 / 6 7 . 8 / 9 10 11 .");
        assert_eq!(one(Order::LeftSymmetric), "0 1 2 . / 4 5 . 3 / 8 . 6 7 / . 9 10 11");
        assert_eq!(one(Order::RightSymmetric), ". 0 1 2 / 5 . 3 4 / 7 8 . 6 / 9 10 11 .");
        assert_eq!(one(Order::First), ". 0 1 2 / . 3 4 5 / . 6 7 8 / . 9 10 11");
        assert_eq!(one(Order::Last), "0 1 2 . / 3 4 5 . / 6 7 8 . / 9 10 11 .");
        let two = |order| drawn(of(2, order), 4, 4);
        assert_eq!(two(Order::LeftAsymmetric), ". 0 1 . / 2 3 . . / 4 . . 5 / . . 6 7");
        assert_eq!(two(Order::RightAsymmetric), ". . 0 1 / 2 . . 3 / 4 5 . . / . 6 7 .");
        assert_eq!(two(Order::LeftSymmetric), ". 0 1 . / 2 3 . . / 5 . . 4 / . . 6 7");
        assert_eq!(two(Order::RightSymmetric), ". . 0 1 / 3 . . 2 / 4 5 . . / . 6 7 .");
        assert_eq!(two(Order::Last), "0 1 . . / 2 3 . . / 4 5 . . / 6 7 . .");
        let copies = |near, rows, members| drawn(Shape::Copies { near, rows }, members, 4);
        assert_eq!(copies(2, 1, 4), "0 . 1 . / 2 . 3 . / 4 . 5 . / 6 . 7 .");
        assert_eq!(copies(2, 1, 3), "0 . 1 / . 2 . / 3 . 4 / . 5 .");
        assert_eq!(copies(1, 2, 3), "0 1 2 / . . . / 3 4 5 / . . .");
    }

    #[test]
    fn shapes_that_are_none_are_told() {
        let parity = |parity| Shape::Parity { parity, order: Order::LeftSymmetric };
        assert!(parity(1).fits(2) && !parity(2).fits(2) && !parity(0).fits(3));
        let copies = |near, rows| Shape::Copies { near, rows };
        assert!(
            copies(2, 1).fits(2) && !copies(3, 1).fits(2) && !copies(0, 1).fits(2) && !copies(1, 0).fits(2)
        );
        assert_eq!((Order::of(2), Order::of(8)), (Some(Order::LeftSymmetric), None));
    }
}
