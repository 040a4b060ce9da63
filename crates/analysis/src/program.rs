//! The linear program of a strategy, in fractions or in floating point.
//!
//! Variables: how often each read set and each write set is contacted, then the load at each
//! fraction of reads. Rows: the probabilities of reads, of writes; for each fraction and class
//! the load of a member; the limits.

use num_traits::{Num, Signed};
use quorum::NodeSet;

use crate::column::Column;
use crate::goal::{Goal, Objective};
use crate::model::Model;
use crate::ratio::{self, Ratio, to_f64, whole};
use crate::workload::Workload;

/// `f64` or a fraction.
pub(crate) trait Number: Num + Signed + Clone + PartialOrd {
    fn times(&self, count: usize) -> Self;
}

impl Number for f64 {
    fn times(&self, count: usize) -> Self {
        self * count as f64
    }
}

impl Number for Ratio {
    fn times(&self, count: usize) -> Self {
        self * whole(count)
    }
}

/// One kind of set.
#[derive(Clone, Debug)]
pub(crate) struct Contact<T> {
    /// Members of each class.
    pub counts: Vec<u8>,
    pub size: usize,
    pub latency: T,
}

#[derive(Clone, Debug)]
pub(crate) struct Program<T> {
    /// For role (reads, writes), fraction of reads and class: what one contact of a member adds
    /// to the load of each member of its class.
    pub rate: [Vec<Vec<T>>; 2],
    /// The share of time of each fraction of reads.
    pub shares: Vec<T>,
    /// The expected share of each role.
    pub often: [T; 2],
    pub contacts: [Vec<Contact<T>>; 2],
    pub objective: Objective,
    pub load_max: Option<T>,
    pub network_max: Option<T>,
    pub latency_max: Option<T>,
}

impl Program<Ratio> {
    /// Loads are in units of the largest capacity, so that numbers stay near 1.
    pub fn of(
        model: &Model,
        work: &Workload,
        goal: &Goal,
        reads: &[Column],
        writes: &[Column],
    ) -> Self {
        let capacities = model.nodes.iter().flat_map(|n| [&n.read_capacity, &n.write_capacity]);
        let unit = capacities.max().expect("a system has members").clone();
        let rate = |of_reads: bool| -> Vec<Vec<Ratio>> {
            let rates = work.shares().iter().map(|(fraction, _)| {
                let rate = |class: &NodeSet| {
                    let slot = class.iter().next().expect("a class has members");
                    let node = &model.nodes[slot as usize];
                    let share = if of_reads {
                        fraction / &node.read_capacity
                    } else {
                        ratio::rest(fraction) / &node.write_capacity
                    };
                    share * &unit / ratio::whole(class.len())
                };
                model.classes.iter().map(rate).collect()
            });
            rates.collect()
        };
        let contacts = |columns: &[Column]| -> Vec<Contact<Ratio>> {
            let contact = |column: &Column| Contact {
                counts: column.counts.clone(),
                size: column.size,
                latency: model.nodes[column.slowest as usize].latency.clone(),
            };
            columns.iter().map(contact).collect()
        };
        let mean = work.mean();
        Self {
            rate: [rate(true), rate(false)],
            shares: work.shares().iter().map(|(_, share)| share.clone()).collect(),
            often: [mean.clone(), ratio::rest(&mean)],
            contacts: [contacts(reads), contacts(writes)],
            objective: goal.objective,
            load_max: goal.limits.load_max.as_ref().map(|load| load * &unit),
            network_max: goal.limits.network_max.clone(),
            latency_max: goal.limits.latency_max.clone(),
        }
    }
}

/// What a contact gains at given prices: `fixed + sum of counts x member + size x .. + ..`.
pub(crate) struct Weights<T> {
    pub fixed: T,
    pub member: Vec<T>,
    pub size: T,
    pub latency: T,
}

impl<T: Number> Program<T> {
    fn classes(&self) -> usize {
        self.rate[0].first().map_or(0, Vec::len)
    }

    fn needs_load(&self) -> bool {
        self.objective == Objective::Load || self.load_max.is_some()
    }

    /// Rows for loads start at 2, after the probabilities.
    fn load_rows(&self) -> usize {
        if self.needs_load() { self.shares.len() * self.classes() } else { 0 }
    }

    /// Row of each limit, in the order load, network, latency.
    pub fn limit_rows(&self) -> [Option<usize>; 3] {
        let mut next = 2 + self.load_rows();
        let limits = [&self.load_max, &self.network_max, &self.latency_max];
        limits.map(|limit| {
            limit.as_ref()?;
            next += 1;
            Some(next - 1)
        })
    }

    /// (right side, whether equal or at most).
    pub fn rows(&self) -> Vec<(T, bool)> {
        let mut rows = vec![(T::one(), true), (T::one(), true)];
        rows.extend((0..self.load_rows()).map(|_| (T::zero(), false)));
        let limits = [&self.load_max, &self.network_max, &self.latency_max];
        rows.extend(limits.into_iter().flatten().map(|limit| (limit.clone(), false)));
        rows
    }

    /// How many variables.
    pub fn count(&self) -> usize {
        let loads = if self.needs_load() { self.shares.len() } else { 0 };
        self.contacts[0].len() + self.contacts[1].len() + loads
    }

    /// (role, contact) of a variable, or the fraction whose load it is.
    fn variable(&self, at: usize) -> Result<(usize, &Contact<T>), usize> {
        let (reads, writes) = (&self.contacts[0], &self.contacts[1]);
        match at.checked_sub(reads.len()) {
            None => Ok((0, &reads[at])),
            Some(at) => match at.checked_sub(writes.len()) {
                None => Ok((1, &writes[at])),
                Some(fraction) => Err(fraction),
            },
        }
    }

    pub fn cost(&self, at: usize) -> T {
        match (self.variable(at), self.objective) {
            (Ok(_), Objective::Load) => T::zero(),
            (Ok((role, contact)), Objective::Network) => self.often[role].times(contact.size),
            (Ok((role, contact)), Objective::Latency) => {
                self.often[role].clone() * contact.latency.clone()
            }
            (Err(fraction), Objective::Load) => self.shares[fraction].clone(),
            (Err(_), _) => T::zero(),
        }
    }

    /// (row, coefficient) of a variable.
    pub fn column(&self, at: usize) -> Vec<(usize, T)> {
        let classes = self.classes();
        let [load_max, network_max, latency_max] = self.limit_rows();
        let (role, contact) = match self.variable(at) {
            Ok(contact) => contact,
            Err(fraction) => {
                let rows = (0..classes).map(|class| 2 + fraction * classes + class);
                let mut entries: Vec<(usize, T)> = rows.map(|row| (row, -T::one())).collect();
                entries.extend(load_max.map(|row| (row, self.shares[fraction].clone())));
                return entries;
            }
        };
        let mut entries = vec![(role, T::one())];
        if self.needs_load() {
            for (fraction, rates) in self.rate[role].iter().enumerate() {
                for (class, count) in contact.counts.iter().enumerate().filter(|(_, c)| **c > 0) {
                    let row = 2 + fraction * classes + class;
                    entries.push((row, rates[class].times(usize::from(*count))));
                }
            }
        }
        entries.extend(network_max.map(|row| (row, self.often[role].times(contact.size))));
        let latency = self.often[role].clone() * contact.latency.clone();
        entries.extend(latency_max.map(|row| (row, latency)));
        entries.retain(|(_, value)| !value.is_zero());
        entries
    }

    /// What contacts of a role gain at these prices; less their cost when `costs`.
    pub fn weights(&self, role: usize, prices: &[T], costs: bool) -> Weights<T> {
        let classes = self.classes();
        let mut member = vec![T::zero(); classes];
        if self.needs_load() {
            for (fraction, rates) in self.rate[role].iter().enumerate() {
                for (class, sum) in member.iter_mut().enumerate() {
                    let price = &prices[2 + fraction * classes + class];
                    if !price.is_zero() {
                        *sum = sum.clone() + price.clone() * rates[class].clone();
                    }
                }
            }
        }
        let [_, network_max, latency_max] = self.limit_rows();
        let often = |row: Option<usize>, objective: Objective| {
            let price = row.map_or(T::zero(), |row| prices[row].clone());
            let cost = if costs && self.objective == objective { T::one() } else { T::zero() };
            self.often[role].clone() * (price - cost)
        };
        Weights {
            fixed: prices[role].clone(),
            member,
            size: often(network_max, Objective::Network),
            latency: often(latency_max, Objective::Latency),
        }
    }

    /// What each variable gains at these prices, less its cost when `costs`.
    pub fn gains(&self, prices: &[T], costs: bool, out: &mut Vec<T>) {
        out.clear();
        for role in [0, 1] {
            let weights = self.weights(role, prices, costs);
            out.extend(self.contacts[role].iter().map(|contact| weights.of(contact)));
        }
        for at in out.len()..self.count() {
            let column = self.column(at);
            let gain = column.iter().fold(T::zero(), |sum, (row, value)| {
                if prices[*row].is_zero() {
                    sum
                } else {
                    sum + prices[*row].clone() * value.clone()
                }
            });
            out.push(if costs { gain - self.cost(at) } else { gain });
        }
    }
}

impl<T: Number> Weights<T> {
    pub fn of(&self, contact: &Contact<T>) -> T {
        let mut sum = self.fixed.clone();
        for (count, weight) in contact.counts.iter().zip(&self.member) {
            if *count > 0 {
                sum = sum + weight.times(usize::from(*count));
            }
        }
        if !self.size.is_zero() {
            sum = sum + self.size.times(contact.size);
        }
        if !self.latency.is_zero() {
            sum = sum + self.latency.clone() * contact.latency.clone();
        }
        sum
    }
}

impl Program<Ratio> {
    /// The same in floating point.
    pub fn approximate(&self) -> Program<f64> {
        let table = |rows: &Vec<Vec<Ratio>>| {
            rows.iter().map(|row| row.iter().map(to_f64).collect()).collect()
        };
        let contacts = |contacts: &Vec<Contact<Ratio>>| {
            let contact = |contact: &Contact<Ratio>| Contact {
                counts: contact.counts.clone(),
                size: contact.size,
                latency: to_f64(&contact.latency),
            };
            contacts.iter().map(contact).collect()
        };
        Program {
            rate: [table(&self.rate[0]), table(&self.rate[1])],
            shares: self.shares.iter().map(to_f64).collect(),
            often: [to_f64(&self.often[0]), to_f64(&self.often[1])],
            contacts: [contacts(&self.contacts[0]), contacts(&self.contacts[1])],
            objective: self.objective,
            load_max: self.load_max.as_ref().map(to_f64),
            network_max: self.network_max.as_ref().map(to_f64),
            latency_max: self.latency_max.as_ref().map(to_f64),
        }
    }
}
