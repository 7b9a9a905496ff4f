import sys; sys.path.insert(0,"/tmp/lead/damage/tests")
import errno, shutil, time, random, collections, os
import pytest
LOG=open('/tmp/lead/inj.log','w',buffering=1)
_print=print
def print(*a): _print(*a,file=LOG)
from failing import fault
ERR={"full":lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "io":lambda: OSError(errno.EIO, os.strerror(errno.EIO)), "memory": MemoryError}
def test_it(sijo_cli, tiny_model, tmp_path, monkeypatch):
    from sijo.zeroshot.scorers.embedding import EmbeddingScorer
    monkeypatch.setattr(EmbeddingScorer,"rows",8)
    rows="id,text\n"+"".join(f"{i},the old sea {i%7}\n" for i in range(14))
    def cmd(place): return ("classify",place/"in.csv","--column","text","--labels","sea,land","--model",tiny_model,"-o",place/"out.csv","--resume","--cache",place/"cache","-q")
    def fresh(name):
        p=tmp_path/name; p.mkdir(); (p/"in.csv").write_text(rows); return p
    w=fresh("want"); assert sijo_cli(*cmd(w)).code==0; want=(w/"out.csv").read_bytes()
    with fault(0,MemoryError) as calls: 
        p=fresh("count"); t=time.time(); assert sijo_cli(*cmd(p)).code==0; print(time.time()-t)
    names=calls(); print(len(names), collections.Counter(names))
    t=time.time()
    kinds=list(ERR.items())
    for n in range(1,len(names)+1):
        kind,error=kinds[n%3]
        p=fresh(f"{kind}{n}")
        with fault(n,error) as calls: ran=sijo_cli(*cmd(p))
        exp=1 if kind=="memory" else 74
        name=calls()[n-1] if len(calls())>=n else "none"
        bad=[]
        if ran.code!=exp: bad.append(f"code {ran.code}")
        if (p/"in.csv").read_text()!=rows: bad.append("INPUT")
        if (p/"out.csv").exists() and (p/"out.csv").read_bytes()!=want: bad.append("OUT")
        left=sorted(x.name for x in p.iterdir())
        again=sijo_cli(*cmd(p))
        if again.code or (p/"out.csv").read_bytes()!=want: bad.append(f"AGAIN {again.code} {again.err}")
        now=sorted(x.name for x in p.iterdir())
        if now!=['.out.csv.sijo-id','cache','in.csv','out.csv']: bad.append(f"left {now}")
        if len(list((p/'cache').iterdir()))!=1: bad.append("cache "+str(list((p/'cache').iterdir())))
        if bad: print(kind,n,name,bad,ran.err.strip().replace(str(p),""))
        if kind=="memory" and n%30==0: print(ran.err)
    print("time",time.time()-t)
