//! `tunneld explain [NAME]`

use super::Places;
use crate::exit::Exit;

pub(super) fn run(_places: &Places, _name: Option<&str>) -> Exit {
    Exit::Failed
}
