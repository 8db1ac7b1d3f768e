//! Names of each call and registration: who calls whom, as scenario and accounts say.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::accounts::{Account, Accounts, Filling, Template};
use crate::scenario::Scenario;
use crate::sip::digest::Credentials;
use crate::sip::identity::{Identity, in_uri, loose_route, name_addr};
use crate::sip::user_part;

/// User where nobody says another.
const NOBODY: &str = "loadtest";

/// Names and credentials of one call, or of one registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The Request-URI.
    pub uri: String,
    /// From, To, headers of one's own, and the route.
    pub identity: Identity,
    /// Answers challenges.
    pub credentials: Option<Credentials>,
    /// User part of From.
    pub user: String,
}

/// Names of all calls of a run.
#[derive(Debug, Clone)]
pub struct Names {
    to: Template,
    from: Template,
    display: Template,
    headers: Vec<(String, Template)>,
    /// Host of the Request-URI and To.
    host: String,
    /// Host of From; `None` where it is the address that the call's SIP goes from.
    home: Option<String>,
    routes: Vec<String>,
    login: Option<Credentials>,
    accounts: Option<Arc<Accounts>>,
    seed: u64,
}

/// The template that a checked scenario has; where nobody has checked it, it stands as it is written.
fn template(text: &str) -> Template {
    Template::parse(text).unwrap_or_default()
}

impl Names {
    /// Of a scenario's calls to target number `number`, at `target`. `login` is for callers without a password of their own.
    pub fn new(
        scenario: &Scenario,
        (number, target): (usize, SocketAddr),
        login: Option<Credentials>,
        accounts: Option<Arc<Accounts>>,
    ) -> Names {
        let (sip, transport) = (&scenario.sip, scenario.asterisk.transport);
        let usual = transport.usual_port();
        let (host, home) = match (&sip.domain, scenario.asterisk.sip.iter().nth(number)) {
            (Some(domain), _) => (domain.clone(), Some(without_port(domain).to_string())),
            (None, Some(named)) if named.is_name() => (named.in_uri(usual), Some(named.host_in_uri())),
            (None, Some(named)) => (named.in_uri(usual), None),
            (None, None) => (in_uri(target, usual), None),
        };
        Names {
            to: template(&sip.to),
            from: template(&sip.from),
            display: template(sip.display.as_deref().unwrap_or_default()),
            headers: sip.headers.iter().map(|(name, value)| (name.clone(), template(value))).collect(),
            host,
            home,
            routes: sip.proxy.iter().map(|proxy| loose_route(&proxy.in_uri(usual), transport)).collect(),
            login,
            accounts,
            seed: scenario.load.seed.into(),
        }
    }

    /// Names of call number `call` on line number `line`, whose SIP goes from `local`: over a connection that was opened
    /// again, another address than before.
    pub fn of_call(&self, call: u32, line: u32, local: SocketAddr) -> Named {
        let accounts = self.accounts.as_deref();
        let account =
            accounts.and_then(|accounts| Some((accounts, accounts.get(accounts.index_of(call, self.seed))?)));
        let (user, filling) = self.caller(account, call, line);
        let filling = Filling { user: &filling, call, line, account };
        let to = match account.and_then(|(_, account)| account.to.clone()) {
            Some(to) => to,
            None => self.to.fill(filling),
        };
        let domain = account.and_then(|(_, account)| account.domain.as_deref());
        let uri = format!("sip:{}@{}", user_part(&to), domain.unwrap_or(&self.host));
        let home = domain.map(without_port).or(self.home.as_deref());
        let home = home.map_or_else(|| local.to_string().into(), Cow::Borrowed);
        let from = format!("sip:{}@{home}", user_part(&user));
        self.named(uri.clone(), (&from, &uri), user, filling)
    }

    /// Number of registrations: one for each account.
    pub fn registrations(&self) -> usize {
        self.accounts.as_ref().map_or(1, |accounts| accounts.all().len())
    }

    /// Names of registration number `index`: the Request-URI is that of the registrar, and both From and To are the address
    /// of record (RFC 3261 10.2).
    pub fn of_registration(&self, index: usize) -> Named {
        let accounts = self.accounts.as_deref();
        let account = accounts.and_then(|accounts| Some((accounts, accounts.get(index)?)));
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        let (user, filling) = self.caller(account, number, 0);
        let filling = Filling { user: &filling, call: number, line: 0, account };
        let domain = account.and_then(|(_, account)| account.domain.as_deref()).unwrap_or(&self.host);
        let record = format!("sip:{}@{}", user_part(&user), without_port(domain));
        self.named(format!("sip:{domain}"), (&record, &record), user, filling)
    }

    fn named(&self, uri: String, (from, to): (&str, &str), user: String, filling: Filling<'_>) -> Named {
        let account = filling.account.map(|(_, account)| account);
        let display = account.and_then(|account| account.display.clone());
        let display = display.unwrap_or_else(|| self.display.fill(filling));
        let own = account
            .and_then(Account::login)
            .map(|(username, password)| Credentials { username: username.into(), password: password.into() });
        let headers = self.headers.iter().map(|(name, value)| (name.clone(), value.fill(filling)));
        let identity = Identity {
            from: name_addr(Some(&display), from),
            to: name_addr(None, to),
            headers: headers.collect(),
            routes: self.routes.clone(),
        };
        Named { uri, identity, credentials: own.or_else(|| self.login.clone()), user }
    }

    /// The user of From, and what `{user}` is.
    fn caller(&self, account: Option<(&Accounts, &Account)>, call: u32, line: u32) -> (String, String) {
        let login = self.login.as_ref().map(|login| login.username.as_str());
        let user = account.map(|(_, account)| account.user.as_str()).or(login).unwrap_or(NOBODY);
        let given = account.and_then(|(_, account)| account.from.clone());
        let from = given.unwrap_or_else(|| match self.from.is_empty() {
            true => user.into(),
            false => self.from.fill(Filling { user, call, line, account }),
        });
        let filled = if account.is_some() { user.into() } else { from.clone() };
        (from, filled)
    }
}

/// A domain without its port.
fn without_port(domain: &str) -> &str {
    match domain.rfind(':') {
        Some(at) if !domain.ends_with(']') => &domain[..at],
        _ => domain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::parse;
    use crate::scenario::{Override, Resolved};

    /// Names of a scenario with these settings, against an Asterisk that is there already.
    fn names(set: &[&str], accounts: Option<&str>) -> Names {
        names_to(0, set, accounts)
    }

    fn names_to(number: usize, set: &[&str], accounts: Option<&str>) -> Names {
        let far = [
            "asterisk.mode=external",
            "asterisk.sip=192.0.2.1:5060",
            "service.mode=none",
            "sip.local=192.0.2.9",
        ];
        let accounts = accounts.map(|text| Arc::new(parse(text).unwrap()));
        let path = accounts.as_ref().map(|_| "sip.accounts=users.csv");
        let set: Vec<_> = far.iter().chain(set).chain(&path).map(|set| Override::set(set)).collect();
        let scenario = Resolved::read("", "x.toml", &set).unwrap_or_else(|e| panic!("{e}")).scenario;
        let target = "192.0.2.1:5060".parse().unwrap();
        let login = Some(Credentials { username: "7001".into(), password: "x".into() });
        Names::new(&scenario, (number, target), login, accounts)
    }

    fn local() -> SocketAddr {
        "192.0.2.9:5070".parse().unwrap()
    }

    fn from_and_uri(set: &[&str]) -> (String, String) {
        let Named { uri, identity, .. } = names(set, None).of_call(0, 0, local());
        assert_eq!(identity.to, format!("<{uri}>"));
        (identity.from, uri)
    }

    #[test]
    fn a_name_stays_a_name_and_the_usual_port_is_not_said() {
        for (set, from, uri) in [
            (&[][..], "<sip:7001@192.0.2.9:5070>", "sip:loadtest@192.0.2.1"),
            (&["asterisk.sip=192.0.2.1:5080"], "<sip:7001@192.0.2.9:5070>", "sip:loadtest@192.0.2.1:5080"),
            (&["asterisk.sip=localhost:5060"], "<sip:7001@localhost>", "sip:loadtest@localhost"),
            (&["asterisk.sip=localhost:5071"], "<sip:7001@localhost>", "sip:loadtest@localhost:5071"),
            (&["sip.domain=pbx.example"], "<sip:7001@pbx.example>", "sip:loadtest@pbx.example"),
            (
                &["sip.domain=[2001:db8::1]:5070"],
                "<sip:7001@[2001:db8::1]>",
                "sip:loadtest@[2001:db8::1]:5070",
            ),
            (
                &["sip.from=bob", "sip.display=a \"b\""],
                "\"a \\\"b\\\"\" <sip:bob@192.0.2.9:5070>",
                "sip:loadtest@192.0.2.1",
            ),
        ] {
            assert_eq!(from_and_uri(set), (from.into(), uri.into()), "{set:?}");
        }
    }

    #[test]
    fn a_call_is_from_the_address_that_its_connection_has() {
        let names = names(&[], None);
        let from = |local: &str| names.of_call(0, 0, local.parse().unwrap()).identity.from;
        assert_eq!(from("192.0.2.9:0"), "<sip:7001@192.0.2.9:0>");
        assert_eq!(from("192.0.2.9:40001"), "<sip:7001@192.0.2.9:40001>");
    }

    #[test]
    fn a_call_has_the_name_of_its_own_target() {
        let set = ["asterisk.sip=['192.0.2.1:5060', 'pbx.example:5070']"];
        let named = |number| names_to(number, &set, None).of_call(0, 0, local());
        assert_eq!(
            [named(0), named(1)].map(|named| named.uri),
            ["sip:loadtest@192.0.2.1", "sip:loadtest@pbx.example:5070"]
        );
        assert_eq!(named(0).identity.from, "<sip:7001@192.0.2.9:5070>");
        assert_eq!(named(1).identity.from, "<sip:7001@pbx.example>");
    }

    #[test]
    fn a_proxy_is_a_preloaded_route() {
        let named =
            names(&["sip.proxy=edge.example:5080", "sip.domain=pbx.example"], None).of_call(0, 0, local());
        assert_eq!(named.identity.routes, ["<sip:edge.example:5080;lr>"]);
        let tls = ["asterisk.transport=tls", "asterisk.sip=pbx.example:5061", "sip.proxy=edge.example:5061"];
        let over_tls = names(&tls, None).of_call(0, 0, local());
        assert_eq!(over_tls.identity.routes, ["<sip:edge.example;transport=tls;lr>"]);
        assert_eq!(over_tls.uri, "sip:loadtest@pbx.example");
        assert_eq!(named.uri, "sip:loadtest@pbx.example");
    }

    #[test]
    fn words_are_those_of_the_call() {
        let set = ["sip.to=x{line}", "sip.headers.X-Call={user}/{call}", "sip.display=Call {call}"];
        let named = names(&set, None).of_call(7, 3, local());
        assert_eq!(
            (&*named.uri, &*named.identity.from),
            ("sip:x3@192.0.2.1", "\"Call 7\" <sip:7001@192.0.2.9:5070>")
        );
        assert_eq!(named.identity.headers, [("X-Call".to_string(), "7001/7".to_string())]);
    }

    #[test]
    fn each_account_calls_in_its_own_name() {
        let accounts = "user,password,auth_user,domain,display,to,tenant\n\
            ada,1,,acme.example:5070,Ada,,acme\nbob,,,,,600,b c\nodd user,3,odd,,,@x,\"y\"\"z\"\n";
        let names = names(&["sip.headers.X-Tenant={tenant}", "sip.to={user}-{field0}"], Some(accounts));
        let login = |named: &Named| named.credentials.clone().map(|c| (c.username, c.password)).unwrap();
        let [ada, bob, odd, again] = [0, 1, 2, 3].map(|call| names.of_call(call, 0, local()));
        assert_eq!(
            (&*ada.identity.from, &*ada.uri),
            ("\"Ada\" <sip:ada@acme.example>", "sip:ada-ada@acme.example:5070")
        );
        assert_eq!(login(&ada), ("ada".into(), "1".into()));
        assert_eq!((&*bob.identity.from, &*bob.uri), ("<sip:bob@192.0.2.9:5070>", "sip:600@192.0.2.1"));
        assert_eq!(login(&bob), ("7001".into(), "x".into()), "who has no password has that of SIP_USER");
        assert_eq!(
            (&*odd.identity.from, &*odd.uri),
            ("<sip:odd%20user@192.0.2.9:5070>", "sip:%40x@192.0.2.1")
        );
        assert_eq!((login(&odd).0, &*odd.identity.headers[0].1), ("odd".into(), "y\"z"));
        assert_eq!(again, ada);
    }

    #[test]
    fn an_address_of_record_is_a_user_of_the_registrar() {
        let one = names(&["sip.domain=pbx.example:5070"], None);
        assert_eq!(one.registrations(), 1);
        let named = one.of_registration(0);
        assert_eq!((&*named.uri, &*named.user), ("sip:pbx.example:5070", "7001"));
        assert_eq!(
            (&*named.identity.from, &*named.identity.to),
            ("<sip:7001@pbx.example>", "<sip:7001@pbx.example>")
        );
        let two = names(&[], Some("SEQUENTIAL\nada;x\nbob;y\n"));
        assert_eq!(two.registrations(), 2);
        assert_eq!(two.of_registration(1).identity.to, "<sip:bob@192.0.2.1>");
    }
}
