//! The one set of Asterisk configuration and how its placeholders are filled in.
//!
//! A placeholder is `${LOADTEST_NAME}` with a name of [`values`]; every other `${…}` is the
//! dialplan's own and stays as it is. `envsubst` with that list of names renders the same files.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::error::AsteriskError;
use super::find::Install;
use super::process::StartConfig;
use super::{certificate, descriptors, modules};
use crate::scenario::Transport;

/// Files of the folder `asterisk/`, each with its name.
macro_rules! templates {
    ($($name:literal)*) => { &[$(($name, include_str!(concat!("../../asterisk/", $name)))),*] };
}

/// The files, by name, as they are in the folder `asterisk/`.
pub const TEMPLATES: &[(&str, &str)] = templates![
    "acl.conf" "ari.conf" "asterisk.conf" "ccss.conf" "cdr.conf" "cel.conf" "chan_websocket.conf" "extensions.conf" "features.conf"
    "http.conf" "indications.conf" "logger.conf" "manager.conf" "modules.conf" "pjproject.conf" "pjsip.conf"
    "rtp.conf" "stasis.conf" "udptl.conf" "websocket_client.conf"
];

/// Without it Asterisk answers 488 to whoever wants SRTP.
const SRTP_MODULE: &str = "res_srtp.so";

const PREFIX: &str = "LOADTEST_";
/// Most users that are written into pjsip.conf: it takes them all into its memory before it is ready.
const MOST_ACCOUNTS: usize = 10_000;

/// The longest file name of a Unix socket that Linux binds, with its closing zero.
const SOCKET_PATH_MAX: usize = 108;

/// A password that does not show itself in debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a password.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The password itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The placeholders' names, without their prefix, and their values.
pub type Values = Vec<(&'static str, String)>;

/// Every placeholder that a template may use, with its value for an Asterisk in `run_dir`.
///
/// # Errors
/// A value that would change the meaning of the file that it is put into.
pub fn values(config: &StartConfig, run_dir: &Path) -> Result<Values, AsteriskError> {
    if run_dir.as_os_str().len() + "/run/asterisk.ctl".len() >= SOCKET_PATH_MAX {
        let reason = "its path is too long for the control socket inside it; use a shorter one";
        return Err(bad("the run folder", reason));
    }
    Ok(vec![
        ("ACCOUNTS", accounts(config)?),
        ("ARI_APP", identifier("the ARI application's name", &config.app)?),
        ("ARI_PASSWORD", secret("the ARI password", &config.ari.password)?),
        ("ARI_USER", identifier("the ARI user", &config.ari.user)?),
        ("DATA_DIR", path("the data folder", &config.install.data_dir)?),
        ("DIGEST_PASSWORD", secret("the SIP password", &config.digest.password)?),
        ("DIGEST_USER", digest_user(&config.digest.user)?),
        ("HTTP_ADDRESS", config.address.to_string()),
        ("HTTP_PORT", config.ports.http.to_string()),
        ("MEDIA_ENCRYPTION", media_encryption(config)?),
        ("MEDIA_MODULES", modules::of_media(&config.install.module_dir, config.media, config.transcodes)?),
        ("MAX_FILES", descriptors::for_asterisk().to_string()),
        ("MODULE_DIR", path("the module folder", &config.install.module_dir)?),
        ("RTP_FROM", config.ports.rtp.start().to_string()),
        ("RTP_TO", config.ports.rtp.end().to_string()),
        ("RUN_DIR", path("the run folder", run_dir)?),
        ("SIP_ADDRESS", bracketed(config.address)),
        ("SIP_PORT", config.ports.sip.to_string()),
        ("SIP_TLS", tls(config.transport, run_dir)?),
        ("SIP_TRANSPORT", config.transport.name().to_ascii_lowercase()),
    ])
}

/// Protection of the media, for which an Asterisk has to have a module.
fn media_encryption(config: &StartConfig) -> Result<String, AsteriskError> {
    let modules = &config.install.module_dir;
    if config.srtp && !modules.join(SRTP_MODULE).exists() {
        return Err(AsteriskError::Failed(format!(
            "media.srtp needs a module that this Asterisk does not have: there is no {SRTP_MODULE} in {}; use an Asterisk \
             that has it (Debian's, as asterisk/install.sh gets it), or set media.srtp = false",
            modules.display()
        )));
    }
    Ok(if config.srtp { "sdes" } else { "no" }.into())
}

/// Refuses a value, which may be a password and is not shown.
fn bad(what: &str, reason: &str) -> AsteriskError {
    AsteriskError::Failed(format!("{what} cannot be put into Asterisk's configuration: {reason}"))
}

/// Lines of a transport that speaks TLS; without a method Asterisk speaks version 1.0.
fn tls(transport: Transport, run_dir: &Path) -> Result<String, AsteriskError> {
    if transport != Transport::Tls {
        return Ok(String::new());
    }
    let keys = path("the run folder", &run_dir.join("keys"))?;
    let (certificate, key) = (certificate::CERTIFICATE, certificate::KEY);
    Ok(format!("method = tlsv1_2\ncert_file = {keys}/{certificate}\npriv_key_file = {keys}/{key}"))
}

fn bracketed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

/// A word that is safe as a section name and as an argument in the dialplan.
fn identifier(what: &str, text: &str) -> Result<String, AsteriskError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.len() > 64 || !text.chars().all(allowed) {
        return Err(bad(what, "use 1 to 64 letters, digits, '-', '_' or '.'"));
    }
    Ok(text.to_string())
}

/// pjsip.conf has sections of its own: a user of the same name would be merged with them.
fn digest_user(text: &str) -> Result<String, AsteriskError> {
    if ["global", "system", "udp", "tcp", "tls", "media", "registered"].contains(&text) {
        return Err(bad("the SIP user", "the name is one of Asterisk's own sections; use another"));
    }
    identifier("the SIP user", text)
}

/// Sections of the further users: an endpoint, its login, and a place for its registration.
fn accounts(config: &StartConfig) -> Result<String, AsteriskError> {
    let most = MOST_ACCOUNTS;
    if config.accounts.len() > most {
        return Err(bad(
            "the file of accounts",
            &format!("it has more than {most}; use fewer, or an external Asterisk"),
        ));
    }
    if config.accounts.is_empty() {
        return Ok(String::new());
    }
    let algorithms = algorithms(&config.install);
    let mut names = HashSet::from([config.digest.user.as_str()]);
    let mut sections = String::new();
    for (name, login) in &config.accounts {
        // A second section of a name would be merged with the first.
        if !names.insert(name.as_str()) {
            continue;
        }
        let name = digest_user(name)?;
        let (user, password) =
            (digest_user(&login.user)?, secret("the password of an account", &login.password)?);
        sections.push_str(&format!(
            "\n[{name}](media)\nidentify_by = username,auth_username\nauth = {name}\naors = {name}\n\n\
             [{name}](registered)\n\n\
             [{name}]\ntype = auth\nauth_type = userpass\nusername = {user}\npassword = {password}\n{algorithms}"
        ));
    }
    Ok(sections)
}

/// Algorithms of the accounts' digest, where this Asterisk knows the option: its modules take none that their
/// documentation lacks.
fn algorithms(install: &Install) -> &'static str {
    match fs::read_to_string(install.data_dir.join("documentation/core-en_US.xml")) {
        Ok(documented) if documented.contains("\"supported_algorithms_uas\"") => {
            "supported_algorithms_uas = SHA-256,MD5\n"
        }
        _ => "",
    }
}

fn secret(what: &str, secret: &Secret) -> Result<String, AsteriskError> {
    let text = secret.expose();
    // ';' begins a comment, '\' escapes it; a line is cut at its ends, so no blanks either.
    let allowed = |c: char| c.is_ascii_graphic() && !matches!(c, ';' | '\\');
    if text.is_empty() || text.len() > 128 || !text.chars().all(allowed) {
        return Err(bad(what, "use 1 to 128 printable ASCII characters without blanks, ';' and '\\'"));
    }
    // After "key =" a leading '>' would be read as part of "=>".
    if text.starts_with('>') {
        return Err(bad(what, "it must not begin with '>'"));
    }
    Ok(text.to_string())
}

fn path(what: &str, path: &Path) -> Result<String, AsteriskError> {
    let text = path.to_str().ok_or(bad(what, "its path is not UTF-8"))?;
    if !path.is_absolute() {
        return Err(bad(what, "its path is not absolute"));
    }
    let refused = |c: char| c.is_control() || matches!(c, ';' | '\\');
    if text.len() > 1024 || text.contains(refused) || text.ends_with(char::is_whitespace) {
        return Err(bad(
            what,
            "its path holds a ';', a '\\', a control character or a blank at the end, or is over 1024 bytes",
        ));
    }
    Ok(text.to_string())
}

/// Fills in one template.
///
/// # Errors
/// A placeholder that nobody provides.
pub fn render(file: &str, template: &str, values: &Values) -> Result<String, AsteriskError> {
    let mut out = String::with_capacity(template.len() + 256);
    let mut rest = template;
    while let Some(at) = rest.find("${LOADTEST_") {
        out.push_str(&rest[..at]);
        let inner = &rest[at + 2..];
        let name = inner.split('}').next().unwrap_or(inner);
        let unknown = || {
            let name: String = name.chars().take(64).collect();
            AsteriskError::Failed(format!("asterisk/{file}: unknown placeholder ${{{name}}}"))
        };
        // An unclosed brace leaves the whole rest as the name: no such placeholder either.
        let name_inside = name.strip_prefix(PREFIX);
        let value = values.iter().find(|(known, _)| name_inside == Some(known)).ok_or_else(unknown)?;
        out.push_str(&value.1);
        rest = inner.get(name.len() + 1..).ok_or_else(unknown)?;
    }
    out.push_str(rest);
    Ok(out)
}

/// Renders every template into `dir`, each readable by its owner alone.
///
/// # Errors
/// As [`render`], and a file that cannot be written.
pub fn write(dir: &Path, values: &Values, module_dir: &Path) -> Result<(), AsteriskError> {
    for (name, template) in TEMPLATES {
        let mut text = render(name, template, values)?;
        if *name == "modules.conf" {
            text = modules::without_missing(&text, module_dir);
        }
        let path = dir.join(name);
        let io = |error| AsteriskError::file("cannot write", &path, error);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(io)?;
        file.write_all(text.as_bytes()).map_err(io)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::process::Account;
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn config() -> StartConfig {
        let install = Install {
            program: "/usr/sbin/asterisk".into(),
            loader: None,
            module_dir: "/usr/lib/asterisk/modules".into(),
            data_dir: "/usr/share/asterisk".into(),
            version: String::new(),
        };
        let mut config = StartConfig::new(install, "/logs");
        config.app = "app".into();
        config.ari.password = Secret::new("p=w,'\"#${EXTEN}");
        config
    }

    /// `config()` after `change`, in `/run/a b`.
    fn values_after(change: impl FnOnce(&mut StartConfig)) -> Result<Values, AsteriskError> {
        let mut config = config();
        change(&mut config);
        values(&config, Path::new("/run/a b"))
    }

    fn good() -> Values {
        values_after(|_| ()).unwrap()
    }

    #[test]
    fn the_list_is_the_folder() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("asterisk");
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .filter(|n| n.ends_with(".conf"))
            .collect();
        names.sort();
        assert_eq!(names, TEMPLATES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }

    #[test]
    fn every_placeholder_is_resolved_and_used() {
        let all: String = TEMPLATES.iter().map(|(_, text)| *text).collect();
        for (name, _) in good() {
            assert!(all.contains(&format!("${{LOADTEST_{name}}}")), "no template uses {name}");
        }
        for (name, template) in TEMPLATES {
            let text = render(name, template, &good()).unwrap_or_else(|e| panic!("{e}"));
            assert!(!text.contains("LOADTEST_"), "{name}: {text}");
            assert!(template.starts_with("; "), "{name} does not say what it is for");
        }
    }

    #[test]
    fn only_our_placeholders_are_touched() {
        let dialplan = "same => n,Log(NOTICE,${EXTEN} $[1+1] ${LOADTEST_ARI_APP}) ${";
        let text = render("x.conf", dialplan, &good()).unwrap();
        assert_eq!(text, "same => n,Log(NOTICE,${EXTEN} $[1+1] app) ${");
    }

    #[test]
    fn an_unknown_placeholder_is_an_error() {
        for template in [
            "a ${LOADTEST_NO} b",
            "${LOADTEST_",
            "${LOADTEST_ARI_APP",
            "${LOADTEST_}",
            "${LOADTEST_LOADTEST_ARI_APP}",
        ] {
            let error = render("x.conf", template, &good()).unwrap_err();
            assert!(error.to_string().contains("unknown placeholder"), "{template}: {error}");
        }
    }

    #[test]
    fn values_that_would_change_the_file_are_refused() {
        let long = "x".repeat(200);
        for value in ["", "a;b", "a\nb", "a\rb", "a\0", "a b", "é", "a\\", &long] {
            let cases: [fn(&mut StartConfig, &str); 5] = [
                |config, value| config.ari.user = value.into(),
                |config, value| config.app = value.into(),
                |config, value| config.digest.user = value.into(),
                |config, value| config.ari.password = Secret::new(value),
                |config, value| config.digest.password = Secret::new(value),
            ];
            for case in cases {
                assert!(values_after(|config| case(config, value)).is_err(), "{value:?} was taken");
            }
        }
        for app in ["a)", "a,b", "${X}", "a]"] {
            assert!(values_after(|config| config.app = app.into()).is_err());
        }
        let long = format!("/{}", "x".repeat(1100));
        for path in ["relative", "/a;b", "/a\nb", "/a ", &long] {
            assert!(values_after(|config| config.install.module_dir = path.into()).is_err(), "{path}");
            let config = config();
            assert!(values(&config, Path::new(path)).is_err(), "{path}");
        }
        for section in ["media", "udp", "tls"] {
            assert!(values_after(|config| config.digest.user = section.into()).is_err(), "{section}");
        }
        let account = |name: &str, password: &str| {
            let login = Account { user: "u".into(), password: Secret::new(password) };
            values_after(|config| config.accounts = vec![(name.into(), login)])
        };
        assert!(account("a]", "x").is_err() && account("a", "x;y").is_err() && account("udp", "x").is_err());
        assert!(account("a", "x").is_ok());
    }

    #[test]
    fn each_account_is_an_endpoint_that_may_register() {
        let login = |user: &str| Account { user: user.into(), password: Secret::new("p") };
        let values = values_after(|config| {
            config.accounts =
                [("a", "a"), ("b", "auth-b"), ("a", "again")].map(|(n, u)| (n.into(), login(u))).into();
        });
        let (_, template) = TEMPLATES.iter().find(|(name, _)| *name == "pjsip.conf").unwrap();
        let text = render("pjsip.conf", template, &values.unwrap()).unwrap();
        assert_eq!(text.matches("[a](media)").count(), 1);
        assert!(text.contains("\n[b](media)\n") && text.contains("\n[b](registered)\n"), "{text}");
        assert!(text.contains("username = auth-b\n") && !text.contains("again"), "{text}");
        assert!(!text.contains("SHA-256"), "an Asterisk that does not know it would have no account at all");
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("documentation")).unwrap();
        let option = "<configOption name=\"supported_algorithms_uas\" default=\"MD5\">";
        fs::write(dir.path().join("documentation/core-en_US.xml"), option).unwrap();
        let values = values_after(|config| {
            config.install.data_dir = dir.path().into();
            config.accounts = vec![("a".into(), login("a"))];
        });
        let text = render("pjsip.conf", template, &values.unwrap()).unwrap();
        assert!(text.contains("password = p\nsupported_algorithms_uas = SHA-256,MD5\n"), "{text}");
    }

    #[test]
    fn media_are_protected_only_by_an_asterisk_that_can() {
        let dir = tempfile::tempdir().unwrap();
        let value = |srtp| {
            let values = values_after(|config| {
                config.srtp = srtp;
                config.install.module_dir = dir.path().into();
            });
            values.map(|values| values.into_iter().find(|(name, _)| *name == "MEDIA_ENCRYPTION").unwrap().1)
        };
        assert_eq!(value(false).unwrap(), "no");
        assert!(value(true).unwrap_err().to_string().contains("media.srtp = false"));
        fs::write(dir.path().join(SRTP_MODULE), "").unwrap();
        assert_eq!(value(true).unwrap(), "sdes");
    }

    #[test]
    fn the_transport_is_the_only_one_and_tls_has_its_files() {
        let template = TEMPLATES.iter().find(|(name, _)| *name == "pjsip.conf").expect("it is there").1;
        for (transport, name) in [(Transport::Udp, "udp"), (Transport::Tcp, "tcp"), (Transport::Tls, "tls")] {
            let values = values_after(|config| {
                config.transport = transport;
                config.address = "::1".parse().unwrap();
            });
            let text = render("pjsip.conf", template, &values.unwrap()).unwrap();
            assert!(
                text.contains(&format!("[{name}]\ntype = transport\nprotocol = {name}\nbind = [::1]:")),
                "{text}"
            );
            assert_eq!(text.matches("type = transport").count(), 1);
            let is_tls = transport == Transport::Tls;
            assert_eq!(
                text.contains("method = tlsv1_2\ncert_file = /run/a b/keys/tls.pem\n"),
                is_tls,
                "{text}"
            );
        }
    }

    #[test]
    fn an_error_does_not_show_the_password() {
        let mut case = config();
        case.ari.password = Secret::new("very;secret");
        let error = values(&case, Path::new("/run")).unwrap_err();
        assert!(!format!("{error} {error:?} {case:?}").contains("secret"));
    }

    #[test]
    fn files_are_private_and_optional_modules_may_be_missing() {
        let dir = tempfile::tempdir().unwrap();
        let modules = dir.path().join("modules");
        fs::create_dir(&modules).unwrap();
        fs::write(modules.join("res_pjsip_pubsub.so"), "").unwrap();
        let etc = dir.path().join("etc");
        fs::create_dir(&etc).unwrap();
        write(&etc, &good(), &modules).unwrap();
        let mode = fs::metadata(etc.join("ari.conf")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = fs::read_to_string(etc.join("modules.conf")).unwrap();
        assert!(
            text.contains("load = res_pjsip_pubsub.so\n") && !text.contains("load = res_websocket_client")
        );
        assert!(text.contains("require = chan_rtp.so\n"));
    }
}
