-- What live engines said of themselves. Reads only. Returns as `announce` does.
return marks()
