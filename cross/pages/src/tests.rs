//! That each command has its page, and each page says what its command says.

use super::*;

fn each<'a>(command: &'a Command, see: &mut impl FnMut(&'a Command)) {
    see(command);
    for below in command.get_subcommands() {
        each(below, see);
    }
}

#[test]
fn each_command_has_a_page_with_its_options_and_each_program_its_completions() {
    let folder = tempfile::tempdir().unwrap();
    write_all(folder.path()).unwrap();
    let mut pages = 0;
    for Program { command, .. } in programs() {
        let name = command.get_name().to_owned();
        for file in [format!("bash/{name}"), format!("zsh/_{name}"), format!("fish/{name}.fish")] {
            let text = fs::read_to_string(folder.path().join(&file)).unwrap();
            assert!(text.contains("config") || text.contains("dir"), "{file} completes no option");
        }
        let mut whole = command.disable_help_subcommand(true);
        whole.build();
        each(&whole, &mut |command| {
            pages += 1;
            let path = folder.path().join("man1").join(Man::new(command.clone()).get_filename());
            let page = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let shown = command.get_opts().filter(|option| !option.is_hide_set());
            for option in shown.filter_map(|option| option.get_long()) {
                assert!(page.contains(&option.replace('-', "\\-")), "{} does not name --{option}", path.display());
            }
        });
    }
    assert_eq!(fs::read_dir(folder.path().join("man1")).unwrap().count(), pages, "and nothing else has one");
}

#[test]
fn the_page_of_a_program_says_where_its_files_are() {
    for Program { command, more } in programs() {
        assert!(more.contains(".SH FILES\n") && more.contains(".SH \"SEE ALSO\"\n"), "{}", command.get_name());
    }
}
