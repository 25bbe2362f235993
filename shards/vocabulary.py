"""Names and constants of the contractor recordings that both sides of the dataset share.

Source: openai/Video-Pre-Training (lib/actions.py) for the buttons, CraftJarvis/ROCKET-1 for the types.
"""

FRAMES_PER_SECOND = 20

POLICY_BUTTONS = (
    "attack",
    "back",
    "forward",
    "jump",
    "left",
    "right",
    "sneak",
    "sprint",
    "use",
    "drop",
    "inventory",
    *(f"hotbar.{slot}" for slot in range(1, 10)),
)
"""The 20 buttons of the policy's action space, in VPT's order."""

BUTTONS = (*POLICY_BUTTONS, "ESC", "pickItem", "swapHands")
"""All 23 recorded buttons; a column each in the dataset's `buttons` arrays."""

NO_INTERACTION = -1
INTERACTION_TYPES = {
    NO_INTERACTION: "none",
    0: "hunt",
    2: "mine",
    3: "interact",
    4: "craft",
    5: "switch",
    6: "approach",
}
