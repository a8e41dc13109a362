//! Contestants by turns: what disturbs the machine disturbs all of them.

use crate::results::Row;

/// Measures once: a value for each column.
pub(crate) type Measure<'a> = Box<dyn FnMut() -> Result<Vec<f64>, String> + 'a>;

/// Who is measured.
pub(crate) struct Contestant<'a> {
    name: String,
    size: Option<f64>,
    measure: Measure<'a>,
}

impl<'a> Contestant<'a> {
    pub(crate) fn new(
        name: impl Into<String>,
        measure: impl FnMut() -> Result<Vec<f64>, String> + 'a,
    ) -> Contestant<'a> {
        Contestant { name: name.into(), size: None, measure: Box::new(measure) }
    }

    pub(crate) fn of_size(mut self, size: usize) -> Contestant<'a> {
        self.size = Some(size as f64);
        self
    }
}

/// So many rounds, each of every contestant once; who begins takes turns. A first round warms up and does not count.
pub(crate) fn rounds(count: usize, mut contestants: Vec<Contestant<'_>>) -> Result<Vec<Row>, String> {
    let mut rows: Vec<Row> =
        contestants.iter().map(|c| Row { name: c.name.clone(), size: c.size, samples: Vec::new() }).collect();
    let all = contestants.len();
    for round in 0..=count {
        for turn in 0..all {
            let who = (round + turn) % all;
            let (Some(contestant), Some(row)) = (contestants.get_mut(who), rows.get_mut(who)) else {
                continue;
            };
            let values =
                (contestant.measure)().map_err(|problem| format!("{}: {problem}", contestant.name))?;
            if round == 0 {
                row.samples = vec![Vec::with_capacity(count); values.len()];
                continue;
            }
            row.samples.iter_mut().zip(values).for_each(|(samples, value)| samples.push(value));
        }
        eprint!("\r{round}/{count} rounds");
    }
    eprintln!();
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn everybody_is_measured_in_every_round_and_begins_once() {
        let order = RefCell::new(String::new());
        let contestant = |name: &'static str| {
            let order = &order;
            Contestant::new(name, move || {
                order.borrow_mut().push_str(name);
                Ok(vec![order.borrow().len() as f64, 0.0])
            })
        };
        let rows = rounds(2, vec![contestant("a"), contestant("b")]).unwrap();
        assert_eq!(*order.borrow(), "abbaab");
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].samples, [[4.0, 5.0], [0.0, 0.0]]);
        assert_eq!(rows[1].samples[0], [3.0, 6.0]);
    }

    #[test]
    fn who_fails_is_named() {
        let fails = Contestant::new("bad", || Err("broken".to_owned()));
        assert_eq!(rounds(1, vec![fails]).unwrap_err(), "bad: broken");
    }
}
