//! A shard's number out of what the engine that starts it puts into the environment.

use super::{MOST_SHARDS, Shard};

/// The number of shards, where the engine says only which one this is.
const SHARDS: &str = "LOADTEST_SHARDS";
/// Variables that say the number of a shard, in the order in which they count, and those that say of how many.
const PAIRS: [Pair; 6] = [
    Pair { index: "LOADTEST_SHARD", count: SHARDS, first: First::At(0) },
    // Swarm's {{.Task.Slot}} is from 1.
    Pair { index: "LOADTEST_SLOT", count: SHARDS, first: First::At(1) },
    // An Indexed Job of Kubernetes says no count.
    Pair { index: "JOB_COMPLETION_INDEX", count: SHARDS, first: First::At(0) },
    // Before Slurm's own: an Open MPI under srun has both.
    Pair { index: "OMPI_COMM_WORLD_RANK", count: "OMPI_COMM_WORLD_SIZE", first: First::At(0) },
    // Before the task's: each element of an array is a task 0 of 1.
    Pair {
        index: "SLURM_ARRAY_TASK_ID",
        count: "SLURM_ARRAY_TASK_COUNT",
        first: First::In("SLURM_ARRAY_TASK_MIN"),
    },
    Pair { index: "SLURM_PROCID", count: "SLURM_NTASKS", first: First::At(0) },
];
/// Every variable that is read.
pub const NAMES: [&str; 11] = [
    "LOADTEST_SHARD",
    SHARDS,
    "LOADTEST_SLOT",
    "JOB_COMPLETION_INDEX",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_SIZE",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_ARRAY_TASK_COUNT",
    "SLURM_ARRAY_TASK_MIN",
    "SLURM_PROCID",
    "SLURM_NTASKS",
];

struct Pair {
    index: &'static str,
    count: &'static str,
    first: First,
}

/// The number of the first shard.
enum First {
    At(u32),
    In(&'static str),
}

/// A shard, and the variable that says which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identified {
    /// The shard.
    pub shard: Shard,
    /// `--shard`, or the name of a variable.
    pub by: &'static str,
}

/// A number of a shard that says too little, or too much.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Nobody says which shard this is.
    #[error("nothing says which shard this is: give --shard I/N, or set LOADTEST_SHARD and LOADTEST_SHARDS")]
    Nobody,
    /// A number without how many there are.
    #[error(
        "{index} says which shard this is, and nothing of how many: set {count} as well, or give --shard I/N"
    )]
    NoCount {
        /// The variable that is set.
        index: &'static str,
        /// The one that is missing.
        count: &'static str,
    },
    /// No number.
    #[error("{name} is `{value}`, which is no number of shards or of a shard")]
    NoNumber {
        /// The variable.
        name: &'static str,
        /// Its value, cut.
        value: String,
    },
    /// A number beyond the count.
    #[error(
        "{index} is {value}, and there are {count} shards, {MOST_SHARDS} at the most: numbers go from {first}"
    )]
    OutOfRange {
        /// The variable.
        index: &'static str,
        /// Its value.
        value: u32,
        /// Number of shards.
        count: u32,
        /// Number of the first shard.
        first: u32,
    },
}

/// The shard that `option` (of the command line) names, or else the environment, which `variable` reads.
///
/// # Errors
/// Nobody says it, or not well.
pub fn identify(
    option: Option<Shard>,
    variable: impl Fn(&'static str) -> Option<String>,
) -> Result<Identified, IdentityError> {
    if let Some(shard) = option {
        return Ok(Identified { shard, by: "--shard" });
    }
    let number = |name: &'static str| -> Result<Option<u32>, IdentityError> {
        let Some(value) = variable(name).filter(|value| !value.is_empty()) else { return Ok(None) };
        let wrong = || IdentityError::NoNumber { name, value: value.chars().take(40).collect() };
        value.trim().parse().map(Some).map_err(|_| wrong())
    };
    for Pair { index, count, first } in PAIRS {
        let Some(value) = number(index)? else { continue };
        let count = number(count)?.ok_or(IdentityError::NoCount { index, count })?;
        let first = match first {
            First::At(first) => first,
            First::In(name) => number(name)?.unwrap_or_default(),
        };
        let shard = value.checked_sub(first).and_then(|nth| Shard::new(nth, count));
        let shard = shard.ok_or(IdentityError::OutOfRange { index, value, count, first })?;
        return Ok(Identified { shard, by: index });
    }
    Err(IdentityError::Nobody)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(set: &[(&str, &str)]) -> Result<(u32, u32, &'static str), String> {
        let variable = |name: &'static str| {
            assert!(NAMES.contains(&name), "{name} is not in the list");
            set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_string())
        };
        let named = identify(None, variable).map_err(|error| error.to_string())?;
        Ok((named.shard.index, named.shard.count, named.by))
    }

    #[test]
    fn each_engine_says_which_of_how_many() {
        let array =
            [("SLURM_ARRAY_TASK_ID", "7"), ("SLURM_ARRAY_TASK_MIN", "5"), ("SLURM_ARRAY_TASK_COUNT", "4")];
        for (set, (index, count)) in [
            (&[("LOADTEST_SHARD", "2"), ("LOADTEST_SHARDS", "3")][..], (2, 3)),
            (&[("LOADTEST_SLOT", "3"), ("LOADTEST_SHARDS", "3")], (2, 3)),
            (&[("JOB_COMPLETION_INDEX", "0"), ("LOADTEST_SHARDS", "3")], (0, 3)),
            (&[("SLURM_PROCID", "1"), ("SLURM_NTASKS", "2")], (1, 2)),
            (&[("OMPI_COMM_WORLD_RANK", "4"), ("OMPI_COMM_WORLD_SIZE", "8")], (4, 8)),
            (&array, (2, 4)),
        ] {
            assert_eq!(of(set).unwrap(), (index, count, set[0].0), "{set:?}");
            let mut both = vec![("SLURM_PROCID", "0"), ("SLURM_NTASKS", "1")];
            both.extend(set);
            if set[0].0 != "SLURM_PROCID" {
                assert_eq!(of(&both).unwrap().2, set[0].0, "an outer engine's number is another's");
            }
        }
        let option = Shard::new(1, 2);
        assert_eq!(
            identify(option, |_| Some("9".into())).unwrap(),
            Identified { shard: option.unwrap(), by: "--shard" }
        );
    }

    #[test]
    fn a_number_without_count_or_out_of_range_is_refused_with_its_cure() {
        for (set, words) in [
            (&[][..], &["--shard I/N", "LOADTEST_SHARDS"][..]),
            (&[("LOADTEST_SHARD", ""), ("LOADTEST_SHARDS", "3")], &["nothing says"]),
            (&[("JOB_COMPLETION_INDEX", "0")], &["JOB_COMPLETION_INDEX", "LOADTEST_SHARDS"]),
            (&[("SLURM_PROCID", "1")], &["SLURM_NTASKS"]),
            (&[("LOADTEST_SHARD", "3"), ("LOADTEST_SHARDS", "3")], &["LOADTEST_SHARD is 3", "from 0"]),
            (&[("LOADTEST_SLOT", "0"), ("LOADTEST_SHARDS", "3")], &["LOADTEST_SLOT is 0", "from 1"]),
            (&[("LOADTEST_SHARD", "x"), ("LOADTEST_SHARDS", "3")], &["`x`"]),
            (&[("LOADTEST_SHARD", "0"), ("LOADTEST_SHARDS", "-3")], &["`-3`"]),
            (&[("LOADTEST_SHARD", "0"), ("LOADTEST_SHARDS", "1000000")], &["256 at the most"]),
        ] {
            let why = of(set).unwrap_err();
            assert!(words.iter().all(|word| why.contains(word)), "{set:?}: {why}");
        }
    }
}
