"""Both ends of each interface: servants offer a local object, proxies use a remote one."""
