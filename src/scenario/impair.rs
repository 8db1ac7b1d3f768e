//! `[impair]`: delay, loss and disorder of packets, on purpose.

use serde::{Deserialize, Serialize};

use crate::impair::{Direction, Impairment};

/// `[impair]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Impair {
    /// Seed that decides every packet's fate: two runs with one seed meet the same network.
    pub seed: u32,
    /// Every call's media on the way from the driver to Asterisk. SIP and the control stream are left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out: Option<Impairment>,
    /// Every call's media on the way from Asterisk to the driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub back: Option<Impairment>,
}

impl Impair {
    /// Impairment of `direction`; `None` without one.
    pub fn of(&self, direction: Direction) -> Option<Impairment> {
        let path = match direction {
            Direction::Out => self.out,
            Direction::Back => self.back,
        };
        path.filter(|impairment| !impairment.is_nothing())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Resolved;
    use super::*;
    use crate::gate::Gate;
    use crate::impair::{ImpairCounts, Impairer, stream_seed};
    use crate::stamp::Stamp;
    use crate::values::{Percent, Span};
    use std::time::Duration;

    fn read(text: &str) -> Resolved {
        Resolved::read(text, "x.toml", &[]).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn keys_become_an_impairment_and_are_written_back() {
        let resolved = read(
            "[impair]\nseed = 7\n[impair.back]\ndelay = \"80ms\"\njitter = \"20ms\"\nloss = \"1.5%\"\nburst = 3\n\
             duplicate = \"0.1%\"\nreorder = \"5%\"\n",
        );
        let impair = &resolved.scenario.impair;
        assert_eq!((impair.seed, impair.of(Direction::Out)), (7, None));
        let ms = Duration::from_millis;
        let expected = Impairment {
            delay: Span(ms(80)),
            jitter: Span(ms(20)),
            loss: Percent(0.015),
            burst: 3.0,
            duplicate: Percent(0.001),
            reorder: Percent(0.05),
        };
        assert_eq!(impair.of(Direction::Back), Some(expected));
        assert_eq!(read(&resolved.to_toml()).scenario, resolved.scenario);
    }

    #[test]
    fn nothing_asked_for_is_nothing_done() {
        let (bare, empty) = (read("name = \"t\"\n").scenario.impair, read("[impair.out]\n").scenario.impair);
        for direction in [Direction::Out, Direction::Back] {
            assert_eq!((bare.of(direction), empty.of(direction)), (None, None));
        }
        assert_eq!((bare.seed, bare.out), (1, None));
    }

    /// The example's gates must hold under what its seed does, wherever in a call its hold phase begins.
    #[test]
    fn the_example_loses_what_its_gates_allow() {
        let scenario = read(include_str!("../../scenarios/impaired.toml")).scenario;
        assert!(scenario.gates.require.iter().all(|text| Gate::parse(text).is_ok()));
        let out = scenario.impair.of(Direction::Out).expect("an impairment");
        assert_eq!(scenario.impair.of(Direction::Back), None);
        let (warmup, hold) = (100, 1000);
        for start in [warmup, warmup + 50] {
            let mut window = ImpairCounts::default();
            for call in 0..scenario.load.calls {
                let mut impairer =
                    Impairer::new(&out, stream_seed(scenario.impair.seed, Direction::Out, call));
                let mut pass = |from: u64, to: u64| {
                    (from..to).for_each(|n| {
                        impairer.pass(Stamp::from_ns(n * 20_000_000));
                    });
                    impairer.counts()
                };
                let before = pass(0, start).lost;
                let after = pass(start, start + hold).lost;
                window += ImpairCounts {
                    lost: after - before,
                    passed: hold - (after - before),
                    ..Default::default()
                };
            }
            let ratio = window.lost as f64 / window.seen() as f64;
            assert!((0.017..0.023).contains(&ratio), "{ratio}");
        }
    }
}
