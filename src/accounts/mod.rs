//! Callers of a run from a file: who they are, their passwords, and further fields for headers.
//!
//! Pure: text in; accounts, or the first line that is none, out. A template says what of a caller stands where.

mod header;
mod read;
mod template;

use std::fmt;

pub use header::{LONGEST_VALUE, MOST_HEADERS, name_fault, value_fault};
pub use read::{AccountsError, MOST_ACCOUNTS, MOST_BYTES, is_domain, parse};
pub use template::{Filling, Template};

/// Order in which accounts serve the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// One after another, and from the first again.
    InTurn,
    /// At random, the same in every run of a seed.
    Random,
}

/// One caller.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Account {
    /// User part of From and of the address that is registered, unless `from` says another.
    pub user: String,
    /// User part of From.
    pub from: Option<String>,
    /// User part of the Request-URI and To.
    pub to: Option<String>,
    /// Domain of the Request-URI, To and From.
    pub domain: Option<String>,
    /// Display name in From.
    pub display: Option<String>,
    auth_user: Option<String>,
    password: Option<String>,
    /// Fields in the order of the columns; that of a password is empty.
    fields: Vec<String>,
}

impl Account {
    /// Name and password for a target that asks for them.
    pub fn login(&self) -> Option<(&str, &str)> {
        Some((self.auth_user.as_deref().unwrap_or(&self.user), self.password.as_deref()?))
    }
}

impl fmt::Debug for Account {
    /// Leaves out the password: it must not get into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("user", &self.user)
            .field("fields", &self.fields)
            .finish_non_exhaustive()
    }
}

/// The callers of a file, one at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accounts {
    order: Order,
    /// Names of the columns; empty where the file has no header row.
    columns: Vec<String>,
    /// Columns whose fields are passwords.
    secret: Vec<usize>,
    all: Vec<Account>,
}

impl Accounts {
    /// All of them, in the order of the file.
    pub fn all(&self) -> &[Account] {
        &self.all
    }

    /// Number of the account that serves a call: call k by account k mod n, or by the seed where the file says RANDOM.
    pub fn index_of(&self, call: u32, seed: u64) -> usize {
        let at = match self.order {
            Order::InTurn => u64::from(call),
            Order::Random => scattered(seed ^ u64::from(call).rotate_left(32)),
        };
        (at % self.all.len().max(1) as u64) as usize
    }

    /// Account number `index`.
    pub fn get(&self, index: usize) -> Option<&Account> {
        self.all.get(index)
    }

    /// The column of this name.
    fn column(&self, name: &str) -> Option<usize> {
        let at = self.columns.iter().position(|column| column.eq_ignore_ascii_case(name))?;
        (!self.secret.contains(&at)).then_some(at)
    }

    /// Most fields of an account.
    fn width(&self) -> usize {
        self.all.iter().map(|account| account.fields.len()).max().unwrap_or(0)
    }
}

/// A number that looks like chance, and is the same for the same input (SplitMix64, Steele et al. 2014).
fn scattered(input: u64) -> u64 {
    let mut z = input.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_k_serves_call_k_mod_n() {
        let accounts = parse("user,password\na,1\nb,2\nc,3\n").unwrap();
        let served: Vec<_> = (0..7).map(|call| accounts.index_of(call, 1)).collect();
        assert_eq!(served, [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn at_random_all_serve_and_the_same_seed_brings_the_same() {
        let accounts = parse("RANDOM\na;1\nb;2\nc;3\n").unwrap();
        let served = |seed| (0..60).map(|call| accounts.index_of(call, seed)).collect::<Vec<_>>();
        assert_eq!(served(1), served(1));
        assert_ne!(served(1), served(2));
        assert!((0..3).all(|account| served(1).contains(&account)));
    }

    #[test]
    fn passwords_stay_out_of_debug_output_and_out_of_templates() {
        let accounts = parse("user,password\nbob,zanzibar\n").unwrap();
        assert!(!format!("{accounts:?}").contains("zanzibar"));
        assert_eq!(accounts.all()[0].login(), Some(("bob", "zanzibar")));
        let sipp = parse("SEQUENTIAL\nbob;[authentication username=joe password=zanzibar]\n").unwrap();
        assert!(!format!("{sipp:?}").contains("zanzibar"));
        for (accounts, text) in [(&accounts, "{password}"), (&accounts, "{field1}"), (&sipp, "{field1}")] {
            let template = Template::parse(text).unwrap();
            assert!(template.unfilled_by(Some(accounts)).is_some(), "{text}");
        }
    }
}
