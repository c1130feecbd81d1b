"""The processes that train one model together, and how they find each other."""

from embedfit.team.joining import joined
from embedfit.team.team import ALONE, Team, team_of_this_process

__all__ = ["ALONE", "Team", "joined", "team_of_this_process"]
