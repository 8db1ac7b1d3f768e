//! Reads a file of accounts: our own with a header row, or one that SIPp reads with `-inf`.

use std::collections::HashMap;

use thiserror::Error;

use super::template::of_sipp;
use super::{Account, Accounts, Order};
use crate::values::cut;

/// Largest file, in bytes.
pub const MOST_BYTES: u64 = 16 << 20;
/// Most accounts of a file.
pub const MOST_ACCOUNTS: usize = 100_000;
/// Most fields of a line.
const MOST_FIELDS: usize = 64;
/// Longest field, in bytes.
const LONGEST_FIELD: usize = 1024;
/// Longest line, in bytes: its fields in quotes, each quote of theirs twice.
const LONGEST_LINE: usize = MOST_FIELDS * (2 * LONGEST_FIELD + 3);
/// Words that no column may have for a name: a template has them of the call.
const OF_CALLS: [&str; 2] = ["call", "line"];
/// Most characters of a foreign text in an error.
const SHOWN: usize = 64;

/// The first line of a file that is no account.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {why}")]
pub struct AccountsError {
    /// Its number, from 1.
    pub line: u64,
    /// The fault and the cure.
    pub why: String,
}

fn fault<T>(line: u64, why: impl Into<String>) -> Result<T, AccountsError> {
    Err(AccountsError { line, why: why.into() })
}

/// Lines that are neither empty nor a comment, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (u64, &str)> {
    let lines = (1..).zip(text.lines().map(str::trim));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// Reads a file. The first line is a header row (`user,password,…`), or one of SIPp's words.
///
/// # Errors
/// The first line that is wrong; a file without accounts, or with too many.
pub fn parse(text: &str) -> Result<Accounts, AccountsError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // Comments included: the whole file may be taken for one.
    if let Some((number, _)) = (1..).zip(text.lines().map(str::trim)).find(|(_, line)| line.contains('\r')) {
        return fault(
            number,
            "it has line ends of CR alone, as of an old Mac; save it with those of Unix (LF) or Windows (CR LF)",
        );
    }
    let Some((number, first)) = lines(text).next() else {
        return fault(
            1,
            "there is nothing in it; write a header row, as in user,password, and a line for each caller",
        );
    };
    let (word, rest) = first.split_once(',').unwrap_or((first, ""));
    let is_sipp = rest.is_empty() || rest.trim_start().starts_with("PRINTF");
    let accounts = match word.trim() {
        "SEQUENTIAL" | "USER" | "RANDOM" if is_sipp && !rest.is_empty() => {
            return fault(number, "PRINTF files are not read; write out a line for each caller");
        }
        "SEQUENTIAL" | "USER" if is_sipp => of_sipp_file(Order::InTurn, text)?,
        "RANDOM" if is_sipp => of_sipp_file(Order::Random, text)?,
        _ => with_header(text)?,
    };
    if accounts.all.is_empty() {
        return fault(number, "no caller follows; add a line for each");
    }
    Ok(accounts)
}

/// Holds the number of accounts, and each of their fields, to the bounds.
fn admit(line: u64, count: usize, fields: &[String]) -> Result<(), AccountsError> {
    if count >= MOST_ACCOUNTS {
        return fault(line, format!("there are more than {MOST_ACCOUNTS} callers; use fewer"));
    }
    if fields.len() > MOST_FIELDS {
        return fault(line, format!("there are more than {MOST_FIELDS} fields, the most that are read"));
    }
    for (at, field) in fields.iter().enumerate() {
        if field.len() > LONGEST_FIELD {
            return fault(line, format!("field {at} has {} bytes, {LONGEST_FIELD} are allowed", field.len()));
        }
        if field.contains('\t') {
            return fault(line, format!("field {at} has a tab; separate columns by comma or semicolon"));
        }
        if field.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
            return fault(
                line,
                format!("field {at} has a character that ends a line; keep it to one line of text"),
            );
        }
    }
    Ok(())
}

/// Columns that say something of the caller, by their place.
#[derive(Debug, Default)]
struct Columns {
    user: Option<usize>,
    password: Option<usize>,
    auth_user: Option<usize>,
    from: Option<usize>,
    to: Option<usize>,
    domain: Option<usize>,
    display: Option<usize>,
}

impl Columns {
    fn slot(&mut self, name: &str) -> Option<&mut Option<usize>> {
        Some(match name.to_ascii_lowercase().as_str() {
            "user" => &mut self.user,
            "password" => &mut self.password,
            "auth_user" => &mut self.auth_user,
            "from" => &mut self.from,
            "to" => &mut self.to,
            "domain" => &mut self.domain,
            "display" => &mut self.display,
            _ => return None,
        })
    }

    fn of(line: u64, names: &[String]) -> Result<Columns, AccountsError> {
        let mut columns = Columns::default();
        for (at, name) in names.iter().enumerate() {
            let shown = cut(&name.escape_debug().to_string(), SHOWN);
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            let is_name = (1..=64).contains(&name.len()) && name.chars().all(fits);
            let is_number =
                name.to_ascii_lowercase().strip_prefix("field").is_some_and(|n| n.parse::<usize>().is_ok());
            if !is_name {
                return fault(
                    line,
                    format!("`{shown}` is no name of a column; use letters, digits, _ and -"),
                );
            }
            if names[..at].iter().any(|other| other.eq_ignore_ascii_case(name)) {
                return fault(line, format!("there are two columns `{shown}`; give each a name of its own"));
            }
            if OF_CALLS.iter().any(|word| word.eq_ignore_ascii_case(name)) || is_number {
                return fault(
                    line,
                    format!("`{shown}` is a word of templates already; call the column something else"),
                );
            }
            if let Some(slot) = columns.slot(name) {
                *slot = Some(at);
            }
        }
        if columns.password.is_none()
            && let Some(name) = names.iter().find(|name| is_like_password(name))
        {
            return fault(
                line,
                format!("`{name}` is none of ours; did you mean `password`? Else call it something else"),
            );
        }
        match columns.user {
            Some(_) => Ok(columns),
            None => fault(
                line,
                "no column is called `user`; the first line names the columns, as in user,password",
            ),
        }
    }

    fn account(&self, line: u64, mut fields: Vec<String>) -> Result<Account, AccountsError> {
        let get =
            |at: Option<usize>| at.and_then(|at| fields.get(at)).filter(|text| !text.is_empty()).cloned();
        let Some(user) = get(self.user) else { return fault(line, "the caller has no `user`; give it one") };
        let account = Account {
            user,
            from: get(self.from),
            to: get(self.to),
            domain: get(self.domain),
            display: get(self.display),
            auth_user: get(self.auth_user),
            password: get(self.password),
            fields: Vec::new(),
        };
        if let Some(domain) = account.domain.as_ref().filter(|domain| !is_domain(domain)) {
            let shown = cut(&domain.escape_debug().to_string(), SHOWN);
            return fault(line, format!("`{shown}` is no domain; write it as in pbx.example"));
        }
        if let Some(secret) = self.password.and_then(|at| fields.get_mut(at)) {
            secret.clear();
        }
        Ok(Account { fields, ..account })
    }
}

/// True for names under which others keep passwords, and for slips: as a word of templates it would be in the open.
fn is_like_password(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let known = ["pass", "passwd", "passwort", "pwd", "secret", "auth_password", "auth_pass"];
    known.contains(&name.as_str()) || strsim::osa_distance(&name, "password") <= 2
}

/// Passwords by user and domain, with the lines that have them.
#[derive(Default)]
struct Passwords(HashMap<(String, Option<String>), (u64, String)>);

impl Passwords {
    /// Refuses a second password of one user.
    fn admit(&mut self, line: u64, account: &Account) -> Result<(), AccountsError> {
        let Some((user, password)) = account.login() else { return Ok(()) };
        let of_user = self.0.entry((user.into(), account.domain.clone()));
        let (first, known) = of_user.or_insert_with(|| (line, password.into()));
        if known.as_str() == password {
            return Ok(());
        }
        let shown = cut(&user.escape_debug().to_string(), SHOWN);
        fault(line, format!("`{shown}` has another password than in line {first}; one of the two is wrong"))
    }
}

/// True for what may stand behind the `@` of a URI: a host, and a port where it has one.
pub fn is_domain(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(v6) => match v6.split_once(']') {
            Some((ip, rest)) if ip.parse::<std::net::Ipv6Addr>().is_ok() => ("v6", rest),
            _ => return false,
        },
        None => text.find(':').map_or((text, ""), |at| text.split_at(at)),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0) && !port.starts_with('+');
    (1..=253).contains(&host.len())
        && host.chars().all(fits)
        && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

/// Our own format: CSV whose first row names the columns. A line is a caller: no field goes over its end.
fn with_header(text: &str) -> Result<Accounts, AccountsError> {
    let first = lines(text).next().map_or("", |(_, line)| line);
    let delimiter = if first.contains(';') && !first.contains(',') { b';' } else { b',' };
    let mut head: Option<(Columns, Vec<String>)> = None;
    let (mut all, mut passwords) = (Vec::new(), Passwords::default());
    for (number, line) in lines(text) {
        if line.len() > LONGEST_LINE {
            return fault(number, format!("it has {} bytes, {LONGEST_LINE} are allowed", line.len()));
        }
        let fields = fields(line, delimiter).or_else(|why| fault(number, format!("it is no CSV: {why}")))?;
        admit(number, all.len(), &fields)?;
        match &head {
            None => head = Some((Columns::of(number, &fields)?, fields)),
            Some((_, names)) if fields.len() != names.len() => {
                let (is, wanted) = (fields.len(), names.len());
                let delimiter = if delimiter == b';' { "semicolon" } else { "comma" };
                let why = format!(
                    "it has {is} fields, the header row has {wanted}; quote what holds a {delimiter}"
                );
                return fault(number, why);
            }
            Some((columns, _)) => {
                let account = columns.account(number, fields)?;
                passwords.admit(number, &account)?;
                all.push(account);
            }
        }
    }
    let (columns, names) = head.unwrap_or_default();
    Ok(Accounts { order: Order::InTurn, columns: names, secret: columns.password.into_iter().collect(), all })
}

/// The fields of a line.
fn fields(line: &str, delimiter: u8) -> Result<Vec<String>, csv::Error> {
    // A reader takes longer to make than a line to read, and nothing but a quote asks for one.
    if !line.contains('"') {
        let fields = line.split(char::from(delimiter)).take(MOST_FIELDS + 1);
        return Ok(fields.map(|field| field.trim().to_string()).collect());
    }
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .trim(csv::Trim::All)
        .buffer_capacity(line.len().max(1))
        .from_reader(line.as_bytes());
    let record = reader.records().next().transpose()?.unwrap_or_default();
    Ok(record.iter().take(MOST_FIELDS + 1).map(String::from).collect())
}

/// SIPp's format: fields between semicolons, without quotes; one of them may be `[authentication …]`.
fn of_sipp_file(order: Order, text: &str) -> Result<Accounts, AccountsError> {
    let (mut all, mut secret, mut passwords) = (Vec::new(), Vec::new(), Passwords::default());
    for (number, line) in lines(text).skip(1) {
        let mut fields: Vec<String> =
            line.split(';').take(MOST_FIELDS + 1).map(|field| field.trim().to_string()).collect();
        admit(number, all.len(), &fields)?;
        let (mut auth_user, mut password) = (None, None);
        let mut named_as_password = None;
        for at in 0..fields.len() {
            let Some(words) = authentication(&fields[at]) else { continue };
            let value = |key: &str| {
                let value =
                    words.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))?;
                let field = of_sipp(value).and_then(|(field, _)| fields.get(field));
                Some(field.map_or(value, String::as_str).to_string())
            };
            (auth_user, password) = (value("username"), value("password"));
            let of_field = words.split_whitespace().find_map(|word| word.strip_prefix("password="));
            named_as_password = of_field.and_then(of_sipp).map(|(field, _)| field);
            fields[at].clear();
            if !secret.contains(&at) {
                secret.push(at);
            }
        }
        if let Some(at) = named_as_password.filter(|at| *at < fields.len()) {
            fields[at].clear();
            if !secret.contains(&at) {
                secret.push(at);
            }
        }
        let user = fields
            .first()
            .filter(|user| !user.is_empty())
            .or(auth_user.as_ref().filter(|user| !user.is_empty()))
            .cloned();
        let Some(user) = user else {
            return fault(number, "its first field is empty; it is the caller's user");
        };
        let account = Account { user, auth_user, password, fields, ..Account::default() };
        passwords.admit(number, &account)?;
        all.push(account);
    }
    Ok(Accounts { order, columns: Vec::new(), secret, all })
}

/// The words of a field `[authentication username=… password=…]`.
fn authentication(field: &str) -> Option<&str> {
    field.strip_prefix("[authentication")?.strip_suffix(']')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_header_row_names_the_columns() {
        let text = "\u{feff}# callers\r\n\r\nUser;password;auth_user;domain;display;to;from;tenant\r\n\
            7001;s3cret;auth7001;acme.example;\"Ada; L.\";600;+4930;acme\r\n7002;;;;;;;\r\n";
        let accounts = parse(text).unwrap();
        let [ada, plain] = accounts.all() else { panic!("{accounts:?}") };
        assert_eq!(ada.login(), Some(("auth7001", "s3cret")));
        assert_eq!((ada.domain.as_deref(), ada.display.as_deref()), (Some("acme.example"), Some("Ada; L.")));
        assert_eq!((ada.from.as_deref(), ada.to.as_deref()), (Some("+4930"), Some("600")));
        assert_eq!(
            (plain, plain.login()),
            (&Account { user: "7002".into(), fields: plain.fields.clone(), ..Account::default() }, None)
        );
    }

    #[test]
    fn the_examples_of_sipp_are_read() {
        // From SIPp's documentation, "Injecting values from an external CSV during calls".
        let accounts = parse(
            "SEQUENTIAL\n#This line will be ignored\nSarah;sipphone32\nBob;sipphone12\n#This line too\nFred;sipphone94\n",
        )
        .unwrap();
        let users: Vec<_> = accounts.all().iter().map(|account| account.user.as_str()).collect();
        assert_eq!(users, ["Sarah", "Bob", "Fred"]);
        let accounts = parse("SEQUENTIAL\nUser0001;[authentication username=joe password=schmo]\nUser0002;[authentication username=[field0] password=x]").unwrap();
        let logins: Vec<_> = accounts.all().iter().map(Account::login).collect();
        assert_eq!(logins, [Some(("joe", "schmo")), Some(("User0002", "x"))]);
    }

    #[test]
    fn a_wrong_line_is_named_with_its_number() {
        let many = "x\n".repeat(MOST_ACCOUNTS + 1);
        for (text, line, words) in [
            ("", 1, "nothing in it"),
            ("\n# only this\n", 1, "nothing in it"),
            ("user,password\n", 1, "no caller"),
            ("SEQUENTIAL\n", 1, "no caller"),
            ("SEQUENTIAL,PRINTF=10\nx\n", 1, "PRINTF"),
            ("name,password\nx,y\n", 1, "called `user`"),
            ("user,USER\nx,y\n", 1, "two columns"),
            ("user,a b\nx,y\n", 1, "no name"),
            ("user,line\nx,y\n", 1, "word of templates"),
            ("user,field3\nx,y\n", 1, "word of templates"),
            ("user,password\na,b\n\n# c\nd\n", 5, "has 1 fields"),
            ("user,password\na,b\n,c\n", 3, "no `user`"),
            ("RANDOM\n;[authentication username=[field0] password=x]\n", 2, "its first field is empty"),
            ("user,x\na,\"b\nc\"\n", 3, "has 1 fields"),
            ("user,x\na,b\u{7f}c\n", 2, "ends a line"),
            ("user;x\na;b;c\n", 2, "quote what holds a semicolon"),
            ("user\tpassword\na\tb\n", 1, "separate columns by comma or semicolon"),
            ("# callers\ruser,password\ra,b\r", 1, "line ends of CR alone"),
            ("user,password\na,b\rc,d\n", 2, "line ends of CR alone"),
            ("user,domain\na,b@c\n", 2, "no domain"),
            ("SEQUENTIAL\n;x\n", 2, "first field"),
            ("user,pasword\na,b\n", 1, "did you mean `password`?"),
            ("user,Secret\na,b\n", 1, "did you mean `password`?"),
            ("user,password\na,1\nb,2\na,3\n", 4, "`a` has another password than in line 2"),
            ("SEQUENTIAL\na;[authentication password=1]\na;[authentication password=2]\n", 3, "in line 2"),
            (&format!("user\n{}\n", "x".repeat(1025)), 2, "field 0 has 1025 bytes"),
            (&format!("user\n\n{}\n", ",".repeat(131_265)), 3, "it has 131265 bytes, 131264 are allowed"),
            (&format!("user{}\nx\n", ",".repeat(131_264)), 1, "bytes, 131264"),
            (&format!("user\n{many}"), MOST_ACCOUNTS as u64 + 2, "more than"),
            (&format!("SEQUENTIAL\n{}\n", ";".repeat(64)), 2, "fields"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.line == line && error.why.contains(words), "{words}: {error}");
        }
    }

    #[test]
    fn a_caller_may_stand_there_twice_and_a_password_beside_a_like_column() {
        for text in [
            "user,password\na,1\na,1\na,\n",
            "user,password,domain\na,1,x\na,2,y\n",
            "user,password,secret\na,1,2\n",
        ] {
            assert!(parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_domain_is_a_host_and_maybe_a_port() {
        for good in ["pbx", "pbx.example", "a_b-c.d:5070", "192.0.2.1", "[2001:db8::1]", "[::1]:5070"] {
            assert!(is_domain(good), "{good}");
        }
        for bad in [
            "", ":5060", "a b", "a@b", "a:0", "a:x", "a:70000", "a:+5", "::1", "[::1", "[pbx]", "a;b", "a>b",
            "a\r\nb",
        ] {
            assert!(!is_domain(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_file_is_too_odd(text in "(SEQUENTIAL|RANDOM|user,password|user;x)?(\\PC|[\n;,\"\\[\\]#]){0,200}") {
            if let Ok(accounts) = parse(&text) {
                prop_assert!(!accounts.all().is_empty());
                prop_assert!(accounts.all().iter().all(|account| !account.user.is_empty()));
            }
        }
    }
}
