"""placeholder"""


class PlainRule: ...
