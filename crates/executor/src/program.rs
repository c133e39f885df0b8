//! Finding the program of an app in its root, and explaining why it could not be executed.

use std::io::{Read, Seek, SeekFrom};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use sys::path::open_in_root;

/// A bare name that stands nowhere in the search path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unable to find {name:?} in {search:?}")]
pub struct NotFound {
    /// The name.
    pub name: String,
    /// Where it was looked for, separated by colons.
    pub search: String,
}

/// Finds the path in `root` at which `exec` is to be executed by a process whose directory is `directory`.
///
/// A name with a slash stands for itself; a bare one is looked up in `search`, or else in `directory`, `/bin`
/// and `/usr/bin`.
pub fn find(
    root: BorrowedFd<'_>,
    exec: &str,
    search: Option<&str>,
    directory: &str,
) -> Result<PathBuf, NotFound> {
    let directory = Path::new(directory);
    if exec.contains('/') {
        return Ok(directory.join(exec));
    }
    let default = format!("{}:/bin:/usr/bin", directory.display());
    let search = search.unwrap_or(&default);
    search
        .split(':')
        .map(|place| directory.join(place).join(exec))
        .find(|candidate| is_program(root, candidate))
        .ok_or_else(|| NotFound { name: exec.to_owned(), search: search.to_owned() })
}

fn is_program(root: BorrowedFd<'_>, path: &Path) -> bool {
    open_in_root(root, path, OFlags::PATH, Mode::empty()).and_then(|file| rustix::fs::fstat(&file)).is_ok_and(
        |stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_mode & 0o111 != 0,
    )
}

/// What `errno` means, without its number.
pub fn describe(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    match text.rfind(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// Says in a sentence why executing `path` in `root` failed with `errno`: often the file is there and what is
/// missing is the interpreter that it names.
pub fn explain(root: BorrowedFd<'_>, path: &Path, errno: Errno) -> String {
    if errno == Errno::LOOP {
        return format!(
            "Unable to execute {path:?}: links that lead in circles or through /proc are not followed"
        );
    }
    let mut path = path.to_owned();
    let mut wanted_by = String::new();
    // A script's interpreter can be a script.
    for _ in 0..5 {
        let file = match open_program(root, &path) {
            Ok(file) => file,
            Err(errno) => return format!("Unable to open {path:?}: {}{wanted_by}", describe(errno)),
        };
        match interpreter(file) {
            Some(next) => {
                wanted_by = format!(" (the interpreter of {path:?})");
                path = next;
            }
            None => break,
        }
    }
    let hint = match errno {
        Errno::NOEXEC => " (neither a script nor a program for this machine)",
        Errno::ACCESS => " (it must be an executable regular file that the app's user may read)",
        _ => "",
    };
    format!("Unable to execute {path:?}: {}{hint}{wanted_by}", describe(errno))
}

fn open_program(root: BorrowedFd<'_>, path: &Path) -> Result<std::fs::File, Errno> {
    // Neither a fifo nor a device may make us wait or do something.
    let handle = open_in_root(root, path, OFlags::PATH, Mode::empty())?;
    if sys::path::file_type(std::os::fd::AsFd::as_fd(&handle))? != FileType::RegularFile {
        return Err(Errno::ACCESS);
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    Ok(open_in_root(root, path, flags, Mode::empty())?.into())
}

/// The interpreter that a script (`#!`) or an ELF program names.
fn interpreter(mut file: impl Read + Seek) -> Option<PathBuf> {
    let mut head = Vec::new();
    file.by_ref().take(256).read_to_end(&mut head).ok()?;
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|&byte| byte == b'\n').next()?;
        let name = line.split(|&byte| byte == b' ' || byte == b'\t').find(|word| !word.is_empty())?;
        return to_path(name);
    }
    elf_interpreter(&head, &mut file)
}

/// Reads the `PT_INTERP` segment of a little-endian ELF file; see elf(5).
fn elf_interpreter(head: &[u8], file: &mut (impl Read + Seek)) -> Option<PathBuf> {
    const PT_INTERP: u64 = 3;
    let is_64 = match head.get(..6)? {
        [0x7f, b'E', b'L', b'F', 2, 1] => true,
        [0x7f, b'E', b'L', b'F', 1, 1] => false,
        _ => return None,
    };
    let word = if is_64 { 8 } else { 4 };
    let table = number(head, if is_64 { 0x20 } else { 0x1c }, word)?;
    let entry_size = usize::try_from(number(head, if is_64 { 0x36 } else { 0x2a }, 2)?).ok()?;
    let count = number(head, if is_64 { 0x38 } else { 0x2c }, 2)?.min(64);
    file.seek(SeekFrom::Start(table)).ok()?;
    for _ in 0..count {
        let mut entry = vec![0; entry_size];
        file.read_exact(&mut entry).ok()?;
        if number(&entry, 0, 4)? != PT_INTERP {
            continue;
        }
        let offset = number(&entry, if is_64 { 8 } else { 4 }, word)?;
        let size = number(&entry, if is_64 { 0x20 } else { 0x10 }, word)?.min(4096);
        file.seek(SeekFrom::Start(offset)).ok()?;
        let mut name = Vec::new();
        file.take(size).read_to_end(&mut name).ok()?;
        return to_path(name.split(|&byte| byte == 0).next()?);
    }
    None
}

fn number(bytes: &[u8], offset: usize, size: usize) -> Option<u64> {
    let field = bytes.get(offset..offset.checked_add(size)?)?;
    Some(field.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

fn to_path(name: &[u8]) -> Option<PathBuf> {
    if name.is_empty() {
        return None;
    }
    std::str::from_utf8(name).ok().map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;
    use std::os::fd::AsFd;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn image() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, mode) in
            [("bin/tool", 0o755), ("srv/tool", 0o644), ("srv/own", 0o700), ("opt/x/deep", 0o755)]
        {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        symlink("/opt/x/deep", dir.path().join("bin/link")).unwrap();
        symlink("/bin/sh", dir.path().join("bin/outside-only")).unwrap();
        dir
    }

    #[test]
    fn look_up() {
        let dir = image();
        let root = sys::path::open_directory(dir.path()).unwrap();
        for (exec, search, directory, wanted) in [
            ("/not/there", None, "/", Ok("/not/there")),
            ("./own", None, "/srv", Ok("/srv/./own")),
            ("tool", None, "/srv", Ok("/bin/tool")),
            ("own", None, "/srv", Ok("/srv/own")),
            ("own", None, "/", Err("/:/bin:/usr/bin")),
            ("tool", Some("/usr/bin:/bin"), "/srv", Ok("/bin/tool")),
            ("own", Some("/bin"), "/srv", Err("/bin")),
            ("own", Some("/bin:"), "/srv", Ok("/srv/own")),
            ("link", None, "/", Ok("/bin/link")),
            ("outside-only", None, "/", Err("/:/bin:/usr/bin")),
            ("x", Some("/opt"), "/", Err("/opt")),
        ] {
            let found = find(root.as_fd(), exec, search, directory);
            let wanted = match wanted {
                Ok(path) => Ok(PathBuf::from(path)),
                Err(search) => Err(NotFound { name: exec.to_owned(), search: search.to_owned() }),
            };
            assert_eq!(found, wanted, "{exec}");
        }
        let error = find(root.as_fd(), "x", Some("/a:/b"), "/").unwrap_err();
        assert_eq!(error.to_string(), "unable to find \"x\" in \"/a:/b\"");
    }

    #[test]
    fn explanations() {
        let dir = image();
        let write = |name: &str, text: &[u8]| std::fs::write(dir.path().join(name), text).unwrap();
        write("script", b"#! /bin/missing -x\necho\n");
        write("outer", b"#!/script\n");
        write("junk", b"\x7fELF\x02\x01");
        let root = sys::path::open_directory(dir.path()).unwrap();
        let none = "No such file or directory";
        for (path, errno, wanted) in [
            ("/foo-not-there", Errno::NOENT, format!("Unable to open \"/foo-not-there\": {none}")),
            (
                "/script",
                Errno::NOENT,
                format!("Unable to open \"/bin/missing\": {none} (the interpreter of \"/script\")"),
            ),
            (
                "/outer",
                Errno::NOENT,
                format!("Unable to open \"/bin/missing\": {none} (the interpreter of \"/script\")"),
            ),
            (
                "/junk",
                Errno::NOEXEC,
                "Unable to execute \"/junk\": Exec format error (neither a script nor a program for this machine)"
                    .to_owned(),
            ),
            ("/bin", Errno::ACCESS, "Unable to open \"/bin\": Permission denied".to_owned()),
        ] {
            assert_eq!(explain(root.as_fd(), Path::new(path), errno), wanted);
        }
    }

    #[test]
    fn interpreter_of_a_real_program() {
        let own = std::fs::File::open("/proc/self/exe").unwrap();
        let found = interpreter(own);
        assert!(found.is_none_or(|path| path.is_absolute() && path.exists()));
        let shell = interpreter(std::fs::File::open("/bin/sh").unwrap()).unwrap();
        assert!(shell.exists(), "{shell:?}");
    }

    #[test]
    fn broken_elf_headers_end_quietly() {
        let mut valid = std::fs::read("/bin/sh").unwrap();
        valid.truncate(1024);
        for length in 0..valid.len().min(200) {
            let _ = interpreter(Cursor::new(&valid[..length]));
        }
        for position in 0..64 {
            let mut bent = valid.clone();
            bent[position] = 0xff;
            let _ = interpreter(Cursor::new(bent));
        }
    }
}
