//! `[api]` and `[[api.token]]`: where the API answers, and who may ask what.
//!
//! It promises that every token has a name of its own, a scope, and a file of its own. It reads no
//! token: [`Api::read_tokens`](crate::Api::read_tokens) does.

use crate::checked::{Api, ApiListen, ApiTls, ApiToken, Scope, Tls};
use crate::grammar;
use crate::limits::{
    API_LISTEN_DEFAULT, API_TOKENS_MAX, OPERATOR_NAME, TOKEN_FILE_DEFAULT, UNIX_PATH_LENGTH_MAX,
};
use crate::mistake::{Complaint, quoted};
use crate::reader::{Reader, Table};
use crate::sections::{absolute_path, check_listen};
use crate::value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::de::DeTable;

/// Reads `[api]`; everything in it has a default. `None` only if a mistake was noted.
pub(crate) fn api(reader: &mut Reader<'_>, file: &Table<'_>) -> Option<Api> {
    let default = Api {
        listen: api_listen(API_LISTEN_DEFAULT).ok()?,
        token_file: PathBuf::from(TOKEN_FILE_DEFAULT),
        tokens: Vec::new(),
        tls: None,
    };
    if !file.has("api") {
        return Some(default);
    }
    let table = reader.table_at(file, "api", &grammar::API)?;
    let listen = reader.parsed(&table, "listen", api_listen);
    let token_file = reader.parsed(&table, "token-file", absolute_path);
    let token_file = token_file.map_or(default.token_file, |placed| placed.value);
    let tokens = tokens(reader, &table, &token_file);
    let tls = tls(reader, &table);
    let listen = listen.map_or(default.listen, |placed| placed.value);
    Some(Api { listen, token_file, tokens, tls })
}

/// Where the API is answered by TLS: all three keys, or none.
fn tls(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<ApiTls> {
    let listen = reader.parsed(table, "tls-listen", |text| {
        let socket = value::socket(text, None)?;
        check_listen(socket)?;
        Ok(socket)
    });
    let certificate = reader.parsed(table, "tls-certificate", absolute_path);
    let key = reader.parsed(table, "tls-key", absolute_path);
    let needed = [
        ("tls-listen", "where it speaks TLS, as in tls-listen = \"10.0.0.67:8443\""),
        ("tls-certificate", "the server's certificate in PEM, and those above it"),
        ("tls-key", "the certificate's private key in PEM"),
    ];
    if needed.iter().any(|(key, _)| table.has(key)) {
        for (key, what) in needed.iter().filter(|(key, _)| !table.has(key)) {
            reader.missing(table, key, what);
        }
    }
    let files = Tls { certificate: certificate?.value, key: key?.value };
    Some(ApiTls { listen: listen?.value, files })
}

fn tokens(reader: &mut Reader<'_>, api: &Table<'_>, operators: &Path) -> Vec<ApiToken> {
    let tables = reader.tables(api, "token", &grammar::API_TOKEN);
    if tables.len() > API_TOKENS_MAX {
        let message = format!("{} tokens; the limit is {API_TOKENS_MAX}", tables.len());
        reader.complain_about(api, "token", api.place_of("token"), Complaint::plain(message));
        return Vec::new();
    }
    let mut names = BTreeMap::from([(Box::<str>::from(OPERATOR_NAME), None)]);
    let mut files = BTreeMap::from([(operators.to_owned(), None)]);
    let mut tokens = Vec::new();
    for table in tables {
        let name = reader.parsed(&table, "name", value::name);
        let token_file = reader.parsed(&table, "file", absolute_path);
        let scope = reader.parsed(&table, "scope", scope);
        for (key, why) in [
            ("name", "it stands in the log, as in name = \"library-portal\""),
            ("file", "holds the token, as in file = \"/etc/vestibule/portal.token\""),
            (
                "scope",
                "what the token lets in to: \"portal\", \"gate\", \"partner\", \"reader\" or \"operator\"",
            ),
        ] {
            if !table.has(key) {
                reader.missing(&table, key, why);
            }
        }
        let twice =
            |reader: &mut Reader<'_>, key: &str, at: usize, what: &str, first: Option<usize>| {
                let first = first.map_or_else(
                    || "first as the token of api.token-file".to_owned(),
                    |first| format!("first on line {}", reader.line(first)),
                );
                let message = format!("{} stands twice; {first}", quoted(what));
                reader.complain_about(&table, key, at, Complaint::plain(message));
            };
        if let Some(name) = &name
            && let Some(first) = names.insert(name.value.clone(), Some(name.at))
        {
            twice(reader, "name", name.at, &name.value, first);
        }
        if let Some(file) = &token_file
            && let Some(first) = files.insert(file.value.clone(), Some(file.at))
        {
            twice(reader, "file", file.at, &file.value.display().to_string(), first);
        }
        if let (Some(name), Some(file), Some(scope)) = (name, token_file, scope) {
            tokens.push(ApiToken { name: name.value, file: file.value, scope: scope.value });
        }
    }
    tokens
}

fn scope(text: &str) -> Result<Scope, Complaint> {
    Scope::ALL.into_iter().find(|scope| scope.name() == text).ok_or_else(|| {
        let message = format!("{} is no scope", quoted(text));
        Complaint::new(
            message,
            "known are \"portal\", \"gate\", \"partner\", \"reader\" and \"operator\"",
        )
    })
}

/// Where a text names a token file: the `number`th `[[api.token]]`'s, or `api.token-file`; if there is
/// none, the section, or the end of the text.
pub(crate) fn token_file_place(text: &str, number: Option<usize>) -> usize {
    let (document, _) = DeTable::parse_recoverable(text);
    let Some(api) = document.get_ref().get("api") else { return text.len() };
    let table = api.get_ref().as_table();
    let value = match number {
        None => table.and_then(|table| table.get("token-file")),
        Some(number) => table
            .and_then(|table| table.get("token")?.get_ref().as_array()?.get(number))
            .and_then(|token| token.get_ref().as_table()?.get("file")),
    };
    value.unwrap_or(api).span().start
}

fn api_listen(text: &str) -> Result<ApiListen, Complaint> {
    let path = text.strip_prefix("unix:").or_else(|| text.starts_with('/').then_some(text));
    let Some(path) = path else {
        let socket = value::socket(text, None).map_err(|mut complaint| {
            complaint.remedy =
                Some("write \"127.0.0.1:8067\" or \"unix:/run/vestibule/api\"".to_owned());
            complaint
        })?;
        check_listen(socket)?;
        return Ok(ApiListen::Tcp(socket));
    };
    unix_socket(path).map(ApiListen::Unix)
}

/// The path of a Unix socket.
pub(crate) fn unix_socket(path: &str) -> Result<PathBuf, Complaint> {
    let path_checked = absolute_path(path)?;
    if path.len() > UNIX_PATH_LENGTH_MAX {
        let message = format!(
            "{} is too long for a Unix socket: the kernel takes {UNIX_PATH_LENGTH_MAX} bytes",
            quoted(path)
        );
        return Err(Complaint::plain(message));
    }
    Ok(path_checked)
}
