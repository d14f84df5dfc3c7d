//! Who holds a UDP port: what `ss -lunp` would show, read from `/proc`.
//!
//! It promises to name a process only if that process has the very socket open. It never fails: what
//! `/proc` does not show (another user's processes, another namespace's) is not named.

use std::fmt;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

/// Processes that are looked through at most.
const PROCESSES_MAX: usize = 65_536;
/// Bytes of a table of sockets that are read at most.
const TABLE_BYTES_MAX: usize = 16 << 20;

/// The process that holds a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortHolder {
    /// Its number.
    pub process_id: u32,
    /// Its name, as the kernel shortens it.
    pub name: Box<str>,
}

impl fmt::Display for PortHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.process_id)
    }
}

/// Finds a process that has UDP `port` of `address`, or of all addresses, open.
#[must_use]
pub fn find(address: Ipv4Addr, port: u16) -> Option<PortHolder> {
    // Of this thread: its network namespace may be another than the process's.
    let tables = ["/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"];
    let inodes: Vec<Box<str>> = tables
        .into_iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .filter(|table| table.len() <= TABLE_BYTES_MAX)
        .flat_map(|table| inodes(&table, address, port))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    let links: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let processes = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| {
        let process_id: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((process_id, entry.path()))
    });
    processes.take(PROCESSES_MAX).find(|(_, path)| has_open(path, &links)).map(
        |(process_id, path)| {
            // A process chooses its own name, and this one goes to a terminal.
            let name = fs::read(path.join("comm")).unwrap_or_default();
            let name = name.trim_ascii_end().escape_ascii().to_string();
            PortHolder { process_id, name: name.into() }
        },
    )
}

/// The inode numbers of the sockets in a table of `/proc/net` that would keep us from binding.
fn inodes(table: &str, address: Ipv4Addr, port: u16) -> Vec<Box<str>> {
    // The kernel prints the address as a number of this machine's byte order, the port as a number.
    let ours = format!("{:08X}", u32::from_ne_bytes(address.octets()));
    let port = format!("{port:04X}");
    let matches = |local: &str| {
        local.rsplit_once(':').is_some_and(|(local_address, local_port)| {
            let anywhere = local_address.bytes().all(|digit| digit == b'0');
            // Of an IPv6 socket, the last eight digits are the IPv4 address if it is mapped.
            local_port == port
                && (anywhere || address.is_unspecified() || local_address.ends_with(&ours))
        })
    };
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut columns = line.split_ascii_whitespace();
            matches(columns.nth(1)?).then(|| columns.nth(7).map(Box::from))?
        })
        .collect()
}

/// Whether a process has one of these sockets open.
fn has_open(process: &Path, links: &[String]) -> bool {
    fs::read_dir(process.join("fd")).is_ok_and(|descriptors| {
        descriptors.flatten().any(|descriptor| {
            fs::read_link(descriptor.path())
                .is_ok_and(|link| links.iter().any(|wanted| link.as_os_str() == wanted.as_str()))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn the_holder_of_a_port_is_found_by_its_address_and_only_by_it() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let holder = find(Ipv4Addr::LOCALHOST, port).unwrap();
        assert_eq!(holder.process_id, std::process::id());
        assert!(!holder.name.is_empty());
        assert!(find(Ipv4Addr::UNSPECIFIED, port).is_some());
        let elsewhere = find(Ipv4Addr::new(127, 9, 8, 7), port);
        assert!(elsewhere.is_none_or(|holder| holder.process_id != std::process::id()));
    }

    #[test]
    fn tables_are_read_column_by_column_and_damaged_lines_are_skipped() {
        let header =
            "  sl  local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode\n";
        let local = format!("{:08X}", u32::from_ne_bytes([192, 0, 2, 1]));
        let table = format!(
            "{header} 1: {local}:0043 00000000:0000 07 0:0 0:0 0 0 0 4242 2 0 0\n 2: {local}:0044 0:0 07 0:0 0:0 0 0 0 1 2\n 3: 00000000:0043 0:0 07 0:0 0:0 0 0 0 77 2\n 4: x\n 5: {local}:0043\n"
        );
        let found = inodes(&table, Ipv4Addr::new(192, 0, 2, 1), 67);
        assert_eq!(found, [Box::from("4242"), Box::from("77")]);
        assert_eq!(inodes(&table, Ipv4Addr::new(192, 0, 2, 9), 67), [Box::from("77")]);
    }
}
