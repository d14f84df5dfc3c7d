//! Files on disk: what `load` says about those it cannot use, and the token file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use vestibule_config::{
    AgentPlace, Api, ApiListen, Scope, TokenError, WhenSilent, limits, load, load_agent,
    load_with_tokens, parse_agent,
};

struct Folder {
    folder: TempDir,
}

impl Folder {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    fn file(&self, name: &str, contents: &[u8], mode: u32) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, contents).expect("it can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
        path
    }
}

fn api(token_file: &Path) -> Api {
    let listen = ApiListen::Unix("/run/vestibule/api".into());
    Api { listen, token_file: token_file.to_owned(), tokens: Vec::new(), tls: None }
}

const CONFIGURATION: &str = "[server]\nname = \"a\"\ninterfaces = [\"eth0\"]\n[gate]\nmode = \"off\"\n\
    [[network]]\nname = \"n\"\ngated = false\n[[network.subnet]]\nprefix = \"10.20.0.0/22\"\n";

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = Folder::new();
    let absent = folder.folder.path().join("absent.toml");
    let mistakes = load(&absent).expect_err("it is not there");
    assert_eq!(mistakes.list.len(), 1);
    assert_eq!(mistakes.list[0].line, 0);
    let shown = mistakes.to_string();
    let expected = format!("{}: cannot be read: No such file", absent.display());
    assert!(shown.starts_with(&expected), "{shown}");
    assert!(
        load(folder.folder.path()).expect_err("a folder").to_string().contains("cannot be read")
    );
}

#[test]
fn bytes_that_are_not_utf_8_have_their_line() {
    let folder = Folder::new();
    let path = folder.file("bad.toml", b"# gr\xc3\xbcn\n# gr\xfcn\n", 0o600);
    let mistakes = load(&path).expect_err("Latin-1 is not UTF-8");
    let (line, column) = (mistakes.list[0].line, mistakes.list[0].column);
    assert_eq!((line, column), (2, 5), "{mistakes}");
}

#[test]
fn a_file_beyond_the_limit_is_not_read_to_its_end() {
    let folder = Folder::new();
    let path = folder.file("large.toml", b"", 0o600);
    let file = fs::OpenOptions::new().write(true).open(&path).expect("it is ours");
    // A file with a hole takes no room on disk.
    file.set_len(limits::FILE_BYTES_MAX * 1000).expect("it can be extended");
    let shown = load(&path).expect_err("it is too large").to_string();
    assert!(shown.ends_with("is larger than 16777216 bytes"), "{shown}");
}

#[test]
fn tokens_are_read_without_white_space_around_them() {
    let folder = Folder::new();
    for mode in [0o400, 0o600, 0o640, 0o440] {
        let path = folder.file("token", b"  0123456789abcdef\n", mode);
        let token = api(&path).read_token().unwrap_or_else(|error| panic!("{mode:o}: {error}"));
        assert_eq!(token.bytes(), b"0123456789abcdef");
        assert_eq!(token.text(), "0123456789abcdef");
        fs::remove_file(path).expect("it is ours");
    }
}

fn refusal(path: &Path) -> TokenError {
    match api(path).read_token() {
        Ok(_) => panic!("{} was taken", path.display()),
        Err(error) => error,
    }
}

#[test]
fn token_files_that_cannot_be_used_are_refused_with_the_remedy() {
    let folder = Folder::new();
    let good = b"0123456789abcdef";
    let open = refusal(&folder.file("open", good, 0o644));
    assert!(matches!(open, TokenError::ReadableByOthers(_)));
    assert!(open.to_string().contains("chmod 640 "), "{open}");
    assert!(matches!(refusal(&folder.file("empty", b" \n", 0o600)), TokenError::Empty(_)));
    let short = refusal(&folder.file("short", &good[1..], 0o600));
    assert!(matches!(short, TokenError::TooShort(_)));
    for bad in [
        &b"0123456789 abcdef"[..],
        b"0123456789abcdef\nx",
        b"0123456789abcde\xff",
        b"0123456789abcdef\x01",
    ] {
        assert!(matches!(refusal(&folder.file("odd", bad, 0o600)), TokenError::NotPrintable(_)));
    }
    let long = vec![b'x'; 4097];
    assert!(matches!(refusal(&folder.file("long", &long, 0o600)), TokenError::TooLong(_)));
    assert!(matches!(refusal(folder.folder.path()), TokenError::NotAFile(_)));
    let absent = refusal(&folder.folder.path().join("absent"));
    assert!(matches!(absent, TokenError::Unreadable(..)));
    assert!(absent.to_string().contains("umask 027"), "{absent}");
}

#[test]
fn no_refusal_shows_a_token() {
    let folder = Folder::new();
    for (name, contents, mode) in [
        ("open", "swordfish-swordfish", 0o644),
        ("odd", "swordfish swordfish", 0o600),
        ("short", "swordfish", 0o600),
    ] {
        let error = refusal(&folder.file(name, contents.as_bytes(), mode));
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("swordfish"), "{shown}");
    }
}

#[test]
fn a_token_file_that_cannot_be_used_has_the_line_that_names_it() {
    let folder = Folder::new();
    let token = folder.folder.path().join("token");
    let named = format!("{CONFIGURATION}[api]\ntoken-file = \"{}\"\n", token.display());
    let path = folder.file("vestibule.toml", named.as_bytes(), 0o600);
    let Err(mistakes) = load_with_tokens(&path) else { panic!("there is no token file") };
    assert_eq!((mistakes.list.len(), mistakes.list[0].line), (1, 12), "{mistakes}");
    assert_eq!(mistakes.list[0].key, "api.token-file");
    folder.file("token", b"0123456789abcdef", 0o600);
    let (vestibule, read) = load_with_tokens(&path).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(vestibule.api.token_file, token);
    assert_eq!(read[0].token.text(), "0123456789abcdef");
}

#[test]
fn tokens_of_every_scope_are_read_and_no_two_may_be_the_same() {
    let folder = Folder::new();
    folder.file("token", b"0123456789abcdef", 0o600);
    folder.file("portal", b"abcdef0123456789", 0o640);
    let file = |name: &str| folder.folder.path().join(name).display().to_string();
    let text = format!(
        "{CONFIGURATION}[api]\ntoken-file = \"{}\"\n[[api.token]]\nname = \"page\"\nscope = \"portal\"\nfile = \"{}\"\n",
        file("token"),
        file("portal")
    );
    let path = folder.file("vestibule.toml", text.as_bytes(), 0o600);
    let (_, read) = load_with_tokens(&path).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let read: Vec<_> = read.iter().map(|one| (&*one.name, one.scope, one.token.text())).collect();
    assert_eq!(
        read,
        [
            ("operator", Scope::Operator, "0123456789abcdef"),
            ("page", Scope::Portal, "abcdef0123456789")
        ]
    );
    for (contents, mode, wanted) in [
        (b"0123456789abcdef".as_slice(), 0o600, "is the same as in"),
        (b"abcdef0123456789".as_slice(), 0o644, "everybody on this host may read"),
    ] {
        folder.file("portal", contents, mode);
        let Err(mistakes) = load_with_tokens(&path) else { panic!("{wanted}") };
        assert_eq!((mistakes.list.len(), mistakes.list[0].line), (1, 16), "{mistakes}");
        assert_eq!(mistakes.list[0].key, "api.token[1].file");
        assert!(mistakes.to_string().contains(wanted), "{mistakes}");
        assert!(!mistakes.to_string().contains("0123456789"), "{mistakes}");
    }
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let vestibule = vestibule_config::parse(CONFIGURATION, "f").unwrap_or_else(|m| panic!("{m}"));
    assert_eq!(vestibule.server.state_dir, Path::new("/var/lib/vestibule"));
    assert_eq!(vestibule.server.receive_buffer_bytes, 8 * 1024 * 1024);
    assert_eq!(vestibule.core.lifetime_seconds, 3600);
    assert_eq!(vestibule.core.lifetime_unregistered_seconds, 120);
    assert_eq!(vestibule.core.decline_quarantine_seconds, 86_400);
    assert_eq!(vestibule.core.cache_threshold_percent, 25);
    assert!(!vestibule.core.rapid_commit);
    assert_eq!(vestibule.api.listen.to_string(), "127.0.0.1:8067");
    assert_eq!(vestibule.api.token_file, Path::new("/etc/vestibule/token"));
    assert_eq!(vestibule.dns, None);
}

const AGENT: &str = "[agent]\n[[agent.server]]\nurl = \"unix:/run/vestibule/api\"\ntoken-file = ";

#[test]
fn an_agents_file_needs_nothing_but_its_section() {
    let text = format!("{AGENT}\"/etc/vestibule/token\"\n");
    let file = parse_agent(&text, "agent.toml").expect("it is right");
    assert!(file.whole.is_none());
    assert_eq!(file.agent.when_silent, WhenSilent::Hold);
    assert_eq!(file.agent.status_listen, limits::AGENT_STATUS_LISTEN_DEFAULT);
    let place = &file.agent.servers.first().expect("there is one").place;
    assert_eq!(*place, AgentPlace::Unix("/run/vestibule/api".into()));

    // With anything else in it, it is a whole file.
    let whole = parse_agent(&format!("{CONFIGURATION}{text}"), "agent.toml").expect("it is right");
    assert!(whole.whole.is_some());
    let mistakes =
        parse_agent(&format!("{text}[leases]\n"), "agent.toml").expect_err("it is not whole");
    assert_eq!(mistakes.list.len(), 3, "{mistakes}");
    let mistakes = parse_agent(CONFIGURATION, "agent.toml").expect_err("there is no [agent]");
    assert!(mistakes.to_string().contains("the file needs `agent`"), "{mistakes}");
    let mistakes = parse_agent("[agnt]\n", "agent.toml").expect_err("it is not spelt so");
    assert!(mistakes.to_string().contains("did you mean `agent`?"), "{mistakes}");
}

#[test]
fn a_token_that_an_agent_cannot_use_is_a_mistake_at_its_line() {
    let folder = Folder::new();
    let good = folder.file("good", b"a-token-of-an-agent", 0o600);
    let text = format!(
        "{AGENT}{good:?}\n[[agent.server]]\nurl = \"https://dhcp-b.example\"\ntoken-file = \"/nowhere/token\"\n"
    );
    let path = folder.file("agent.toml", text.as_bytes(), 0o644);
    let Err(mistakes) = load_agent(&path) else { panic!("there is no such file") };
    let mistake = mistakes.list.first().expect("there is one");
    assert_eq!((mistake.line, &*mistake.key), (7, "agent.server[2].token-file"));
    let text = text.replace("\"/nowhere/token\"", &format!("{good:?}"));
    let path = folder.file("agent.toml", text.as_bytes(), 0o644);
    let (_, tokens) = load_agent(&path).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let read: Vec<&str> = tokens.iter().map(vestibule_config::Token::text).collect();
    assert_eq!(read, ["a-token-of-an-agent"; 2]);
}
