"""``python -m thcli`` is ``thgen``."""

from thcli.commands.main import main

main()
