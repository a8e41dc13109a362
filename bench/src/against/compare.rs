//! Measures a figure of both builds, round by round.

use super::builds::Build;
use super::figures::{Figure, Measure};
use super::verdict::{Comparison, MAX_VISIBLE_CHANGE};
use std::io::IsTerminal as _;

/// Rounds before the first look at the precision.
const MIN_ROUNDS: usize = 15;
/// Rounds after which a figure is given up as too noisy.
const MAX_ROUNDS: usize = 75;
/// Rounds between looks at the precision. The decision to go on depends on the width of the interval
/// alone, not on where it lies.
const STEP: usize = 10;

/// Measures a figure until its interval is narrow enough. `figures` is the number of figures of the
/// whole comparison, which share its error probability.
pub(super) fn compare(
    figure: &Figure,
    builds: &[Build; 2],
    figures: usize,
) -> Result<Comparison, String> {
    let named = |problem| format!("{}: {problem}", figure.name);
    let [old, new] = builds;
    let mut measures =
        [(figure.prepare)(old).map_err(named)?, (figure.prepare)(new).map_err(named)?];
    round(&mut measures, figure.repeats, 0).map_err(named)?;
    let mut samples = [Vec::new(), Vec::new()];
    loop {
        let done = samples[0].len();
        let [old, new] = round(&mut measures, figure.repeats, done).map_err(named)?;
        samples[0].push(old);
        samples[1].push(new);
        let done = done + 1;
        if std::io::stderr().is_terminal() {
            eprint!("\r{}: {done} rounds ", figure.name);
        }
        if done < MIN_ROUNDS || !(done - MIN_ROUNDS).is_multiple_of(STEP) && done < MAX_ROUNDS {
            continue;
        }
        let comparison =
            Comparison::new(&samples[0], &samples[1], figures).ok_or("no finite time")?;
        if comparison.visible_change() <= MAX_VISIBLE_CHANGE || done >= MAX_ROUNDS {
            if std::io::stderr().is_terminal() {
                eprint!("\r\x1b[K");
            }
            return Ok(comparison);
        }
    }
}

/// Measures both builds in turn, and returns the shortest time of each. Every other round begins with
/// the new build.
fn round(measures: &mut [Measure; 2], repeats: usize, number: usize) -> Result<[f64; 2], String> {
    let mut shortest = [f64::INFINITY; 2];
    for _ in 0..repeats {
        for turn in 0..2 {
            let side = (number + turn) % 2;
            let time = (measures[side])()?;
            shortest[side] = shortest[side].min(time);
        }
    }
    Ok(shortest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    #[test]
    fn a_round_alternates_and_keeps_the_shortest_time() {
        let order = Rc::new(RefCell::new(String::new()));
        let measure = |name: char, mut times: Vec<f64>| -> Measure {
            let order = Rc::clone(&order);
            Box::new(move || {
                order.borrow_mut().push(name);
                times.pop().ok_or_else(|| "no more".to_owned())
            })
        };
        let mut measures = [measure('a', vec![1.0, 3.0, 2.0]), measure('b', vec![9.0, 5.0, 7.0])];
        assert_eq!(round(&mut measures, 2, 0).unwrap(), [2.0, 5.0]);
        assert_eq!(round(&mut measures, 1, 1).unwrap(), [1.0, 9.0]);
        assert_eq!(*order.borrow(), "ababba");
        assert_eq!(round(&mut measures, 1, 0).unwrap_err(), "no more");
    }
}
